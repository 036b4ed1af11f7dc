"""The engine: runs jobs on the seams' protocols, and knows none of their implementations."""
