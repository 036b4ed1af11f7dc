"""The PostgreSQL store keeps every promise of the seam."""

from collections.abc import AsyncIterator

import pytest

from holdfast.store.base import Store
from holdfast.store.orders import OrderStore
from holdfast.store.postgres_store import PostgresStore
from holdfast.store.service import ServiceStore
from holdfast.testing.clock import ManualClock
from holdfast.testing.store_suite import StoreSuite
from holdfast.testing.store_suite.order_keeping import OrderKeepingSuite
from holdfast.testing.store_suite.orders import OrderSuite
from holdfast.testing.store_suite.service import ServiceSuite
from holdfast.testing.store_suite.tenants import TenantBudgetSuite


class PostgresLab:
    """Opens stores on one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = ManualClock()
        self._opened: list[PostgresStore] = []

    async def open(self, **options) -> PostgresStore:
        store = PostgresStore(self.url, clock=self.clock, **options)
        await store.open()
        self._opened.append(store)
        await store.listening()
        return store

    def records_of(self, store: Store) -> ServiceStore:
        assert isinstance(store, PostgresStore)
        return store.service

    def orders_of(self, store: Store) -> OrderStore:
        assert isinstance(store, PostgresStore)
        return store.orders

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


@pytest.fixture(scope="session")
def migrated(postgres_server) -> str:
    """Name of a database with the tables, to be copied."""
    import asyncio

    async def migrate(url: str) -> None:
        store = PostgresStore(url)
        await store.open()
        await store.close()

    asyncio.run(migrate(postgres_server.create_database("holdfast_template")))
    return "holdfast_template"


@pytest.fixture
async def lab(postgres_server, migrated, request) -> AsyncIterator[PostgresLab]:
    name = f"lab_{abs(hash(request.node.nodeid))}"
    lab = PostgresLab(postgres_server.create_database(name, template=migrated))
    yield lab
    await lab.close()
    postgres_server.drop_database(name)


class TestPostgresStore(StoreSuite, ServiceSuite, TenantBudgetSuite, OrderSuite, OrderKeepingSuite):
    """Runs the conformance suite on one database per test."""
