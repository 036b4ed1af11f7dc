"""The same jobs, reached by the store's own client and by that of a service before it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast import JobContext
from holdfast.jobs import Jobs
from holdfast.remote import Client
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.harness import Harness
from holdfast.testing.service import RunningService, running_service
from holdfast.testing.signals import Gate


@dataclass
class Lab:
    """A harness with job kinds to play with, and a client to reach its jobs by."""

    harness: Harness
    jobs: Jobs
    gate: Gate


def with_kinds(harness: Harness, gate: Gate) -> None:
    async def greet(job: JobContext, name: str) -> str:
        return await job.step("greet", str.upper, name)

    async def files(job: JobContext) -> None:
        await job.save_artifact("a.txt", b"first")
        await job.save_artifact("letters/b c.txt", b"second " * 1000)

    async def fails(job: JobContext) -> None:
        await job.step("cursed", _fail)

    async def waits(job: JobContext) -> object:
        return await job.wait_for("go")

    async def holds(job: JobContext) -> str:
        await job.step("hold", gate.through)
        return "held"

    for function in (greet, files, fails, waits, holds):
        harness.job(function.__name__, function)


def _fail() -> None:
    raise ValueError("no luck")


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
async def harness(tmp_path: Path, template: Path) -> AsyncIterator[Harness]:
    shutil.copy(template, tmp_path / "holdfast.db")
    async with Harness(tmp_path) as harness:
        yield harness


@pytest.fixture
async def running(harness: Harness) -> AsyncIterator[RunningService]:
    async with running_service(harness) as running:
        yield running


@pytest.fixture
async def client(running: RunningService) -> AsyncIterator[Client]:
    async with Client(running.url, await running.key()) as client:
        yield client


@pytest.fixture(params=["store", "service"])
async def lab(request: pytest.FixtureRequest, harness: Harness) -> AsyncIterator[Lab]:
    gate = Gate()
    with_kinds(harness, gate)
    if request.param == "store":
        yield Lab(harness, harness.client, gate)
        return
    async with running_service(harness) as running, Client(running.url, await running.key()) as client:
        yield Lab(harness, client, gate)
