"""The SQLite store keeps every promise of the seam."""

from holdfast.testing.store_suite import StoreSuite


class TestSqliteStore(StoreSuite):
    """Runs the conformance suite on one file per test."""
