"""Stores on files of their own; migrated once, copied for each test."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.store.base import Store
from holdfast.store.orders import OrderStore
from holdfast.store.service import ServiceStore
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.clock import ManualClock


class SqliteLab:
    """Opens stores on one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self._opened: list[SqliteStore] = []

    async def open(self, **options) -> SqliteStore:
        store = SqliteStore(self.path, clock=self.clock, **options)
        await store.open()
        self._opened.append(store)
        return store

    def records_of(self, store: Store) -> ServiceStore:
        assert isinstance(store, SqliteStore)
        return store.service

    def orders_of(self, store: Store) -> OrderStore:
        assert isinstance(store, SqliteStore)
        return store.orders

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A migrated, empty database."""
    import asyncio

    path: Path = tmp_path_factory.mktemp("template") / "holdfast.db"

    async def migrate() -> None:
        store = SqliteStore(path)
        await store.open()
        await store.close()

    asyncio.run(migrate())
    return path


@pytest.fixture
async def lab(tmp_path: Path, template: Path) -> AsyncIterator[SqliteLab]:
    shutil.copy(template, tmp_path / "holdfast.db")
    lab = SqliteLab(tmp_path / "holdfast.db")
    yield lab
    await lab.close()
