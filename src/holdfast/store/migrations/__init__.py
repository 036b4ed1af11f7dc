"""Forward-only migrations; the last one arrives at `holdfast.store.schema`."""
