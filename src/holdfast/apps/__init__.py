"""The applications: products on the engine."""
