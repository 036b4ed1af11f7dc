"""Artifacts: files that jobs make, addressed by content."""
