"""Fleets: real workers, a real broker and a store, with a client that announces jobs by the broker."""

import asyncio
import contextlib
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from holdfast import App
from holdfast.engine.client import JobClient
from holdfast.ids import new_id
from holdfast.model import Event, Job, JobStatus
from holdfast.settings import Settings
from holdfast.testing.servers.base import Server, free_port
from holdfast.testing.servers.rabbitmq import RabbitMQ
from holdfast.testing.servers.redis import Redis
from tests.fleet import jobs
from tests.process.conftest import HOLDFAST, ROOT, Process, eventually, no_process_left_behind, start

__all__ = ["no_process_left_behind"]

APP = ("--app", "tests.fleet.jobs:app")
LEASE_SECONDS = 4.0
PATIENCE_SECONDS = 30.0


@dataclass
class Fleet:
    """A store, a broker, and the workers between them."""

    folder: Path
    broker: Server
    app: App
    client: JobClient
    environment: dict[str, str]
    processes: list[Process] = field(default_factory=list)
    ports: dict[Process, int] = field(default_factory=dict)

    @property
    def celery(self) -> Celery:
        """What the client announces jobs by."""
        found = self.app.broker()
        assert found is not None
        return found

    async def run(self, *command: str, **environment: str) -> Process:
        """Start a Python process."""
        process = await start(
            *command, environment={**self.environment, **environment}, folder=self.folder
        )
        self.processes.append(process)
        return process

    async def worker(self, *arguments: str, ready: bool = True, **environment: str) -> Process:
        """Start a worker with its metrics on a port of its own, and wait until it consumes."""
        port = free_port()
        told = ("--metrics-port", str(port), *arguments)
        process = await self.run(*HOLDFAST, *APP, "worker", *told, **environment)
        self.ports[process] = port
        if ready:
            await process.says("info: ready")
        return process

    async def get(self, worker: Process, path: str) -> tuple[int, str]:
        """Ask a worker's metrics port."""

        def ask() -> tuple[int, str]:
            url = f"http://127.0.0.1:{self.ports[worker]}{path}"
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as answer:
                return answer.code, answer.read().decode()

        return await asyncio.to_thread(ask)

    async def metric(self, worker: Process, name: str) -> float:
        """Return the sum of a worker's metric over its labels."""
        _, text = await self.get(worker, "/metrics")
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return sum(float(value) for told, _, value in lines if told.partition("{")[0] == name)

    async def submit(self, kind: str, value: Any, count: int = 1, **options: Any) -> list[str]:
        """Submit jobs and return their ids."""
        found = await asyncio.gather(*(self.client.submit(kind, value, **options) for _ in range(count)))
        return [job.job_id for job in found]

    async def ended(self, *job_ids: str, seconds: float = PATIENCE_SECONDS) -> list[Job]:
        """Return the jobs once all have ended."""
        try:
            async with asyncio.timeout(seconds):
                return list(await asyncio.gather(*map(self.client.wait, job_ids)))
        except TimeoutError:
            said = [line for process in self.processes for line in process.said[-20:]]
            raise AssertionError("\n".join(["jobs have not ended", *said])) from None

    async def until(
        self, status: JobStatus, *job_ids: str, count: int = 0, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Return once all jobs, or `count` of them, have this status."""

        async def holds() -> bool:
            found = [(await self.client.get(job_id)).status for job_id in job_ids]
            return found.count(status) >= (count or len(job_ids))

        await eventually(holds, f"jobs are {status}", seconds=seconds)

    async def metric_is(self, worker: Process, name: str, value: float) -> bool:
        """Tell whether a worker's metric has this value by now."""
        return await self.metric(worker, name) == value

    async def events(self, job_id: str, *types: str) -> list[Event]:
        """Return the job's events so far."""
        return list(await self.client._store.read_events(job_id, types=types))

    async def unannounced(self, kind: str, value: Any, count: int) -> list[str]:
        """Commit jobs without a message to the broker, as a process does that dies in between."""
        quiet = App(self.app.settings.model_copy(update={"broker": None}))
        quiet.registry = self.app.registry
        async with quiet.client() as client:
            return [(await client.submit(kind, value)).job_id for _ in range(count)]

    async def wipe(self, *queues: str) -> None:
        """Lose all messages."""
        if isinstance(self.broker, Redis):
            self.broker.flushall()
            return
        assert isinstance(self.broker, RabbitMQ)
        for queue in queues:
            await asyncio.to_thread(self.broker.purge, f"{self.app.settings.queue_prefix}{queue}")

    async def reconnected(self) -> None:
        """Return once the client announces again."""
        publisher = self.client.submissions._dispatcher._beyond  # type: ignore[attr-defined]
        await self.client.submit("add", 0)
        await eventually(lambda: not publisher._failing, "the client reaches the broker again")

    async def control(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Ask the workers through Celery's remote control; the first try after trouble may fail."""

        control = self.celery.control
        if method.startswith("inspect_"):
            call = getattr(control.inspect(timeout=1.0), method.removeprefix("inspect_"))
        else:
            # One worker is asked; its answer ends the wait, so growing is not told twice in a hurry.
            options = {**options, "reply": True, "timeout": 5.0, "limit": 1}
            call = getattr(control, method)

        def ask() -> Any:
            # Connections that are held from before a test that killed the broker are dead, and a
            # worker that has only just come up may not listen yet.
            for _ in range(5):
                with contextlib.suppress(OSError, OperationalError, redis.ConnectionError):
                    if found := call(*arguments, **options):
                        return found
            return None

        return await asyncio.to_thread(ask)


OpenFleet = Callable[..., Awaitable[Fleet]]


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A broker that runs, shared with the tests before and after."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    yield server
    if not server.running:
        server.start()


@pytest.fixture
def redis_broker(redis_server: Server) -> Iterator[Server]:
    """Where the broker makes no difference."""
    yield redis_server
    if not redis_server.running:
        redis_server.start()


@pytest.fixture
async def open_fleet(tmp_path: Path, postgres_url: str) -> AsyncIterator[OpenFleet]:
    """Open a client on a broker with queues of its own; all processes are killed at the end."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HOLDFAST_", "OPENAI_"))
    }
    opened: list[Fleet] = []
    async with contextlib.AsyncExitStack() as stack:

        async def make(broker: Server, *, url: str | None = None) -> Fleet:
            prefix = f"{new_id('test')}."
            home = tmp_path / "home"
            environment = {
                **clean,
                "PYTHONPATH": str(ROOT),
                "HOLDFAST_HOME": str(home),
                "HOLDFAST_STORE": postgres_url,
                "HOLDFAST_PROVIDER": "scripted",
                "HOLDFAST_BROKER": url or broker.url,
                "HOLDFAST_QUEUE_PREFIX": prefix,
                "HOLDFAST_LEASE_SECONDS": str(LEASE_SECONDS),
            }
            settings = Settings(
                home=home,
                store=postgres_url,
                provider="scripted",
                broker=broker.url,
                queue_prefix=prefix,
            )
            app = App(settings)
            app.registry = jobs.app.registry
            client = await stack.enter_async_context(app.client())
            fleet = Fleet(tmp_path, broker, app, client, environment)
            opened.append(fleet)
            return fleet

        yield make
        for fleet in opened:
            for process in fleet.processes:
                await process.kill()
            if fleet.app._celery is not None:
                fleet.app._celery.close()
