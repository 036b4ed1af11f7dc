"""The SQLite store keeps every promise of the seam."""

from holdfast.testing.store_suite import StoreSuite
from holdfast.testing.store_suite.order_keeping import OrderKeepingSuite
from holdfast.testing.store_suite.orders import OrderSuite
from holdfast.testing.store_suite.service import ServiceSuite
from holdfast.testing.store_suite.tenants import TenantBudgetSuite


class TestSqliteStore(StoreSuite, ServiceSuite, TenantBudgetSuite, OrderSuite, OrderKeepingSuite):
    """Runs the conformance suite on one file per test."""
