"""A whole engine on a file of its own, migrated once and copied for each test."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.clock import ManualClock
from holdfast.testing.harness import Harness


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A migrated, empty database."""
    path: Path = tmp_path_factory.mktemp("template") / "holdfast.db"

    async def migrate() -> None:
        store = SqliteStore(path)
        await store.open()
        await store.close()

    asyncio.run(migrate())
    return path


@pytest.fixture
def folder(tmp_path: Path, template: Path) -> Path:
    """A folder with a migrated database."""
    shutil.copy(template, tmp_path / "holdfast.db")
    return tmp_path


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def idle(folder: Path, clock: ManualClock) -> AsyncIterator[Harness]:
    """A harness without a worker, whose time stands still."""
    async with Harness(folder, clock=clock) as harness:
        yield harness


@pytest.fixture
async def lab(idle: Harness) -> Harness:
    """A harness with a worker, whose time stands still and whose lease no test outlives."""
    await idle.start_worker(lease_seconds=1_000_000)
    return idle


@pytest.fixture
def job(lab: Harness) -> Callable[..., Any]:
    """Register a job function under its own name: `@job` or `@job(option=…)`."""

    def register(function=None, **options):
        if function is None:
            return lambda found: register(found, **options)
        lab.job(function.__name__, function, **options)
        return function

    return register
