"""Dispatch: tell workers that a job is ready. A hint; the store is the truth."""
