"""A whole Holdfast in a folder of its own: store, artifacts, client and workers for tests."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast.artifacts.local import LocalArtifacts
from holdfast.clock import SystemClock
from holdfast.dispatch.local import LocalDispatcher
from holdfast.engine.attempt import Services
from holdfast.engine.client import JobClient
from holdfast.engine.registry import Registry
from holdfast.engine.worker import Worker
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.faults import FaultyStore
from holdfast.testing.signals import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from holdfast.clock import Clock
    from holdfast.model import Event, Job, JobStatus

_DRAIN_GRACE = timedelta(seconds=1)


class Harness:
    """Everything a test of jobs needs, opened by `async with` and drained at its end.

    ```python
    async with Harness(tmp_path, clock=ManualClock()) as harness:
        harness.job("greet", greet)
        await harness.start_worker()
        assert await harness.run("greet", "you") == "hello you"
    ```
    """

    def __init__(
        self,
        folder: Path,
        *,
        registry: Registry | None = None,
        clock: Clock | None = None,
        resources: dict[type, object] | None = None,
    ) -> None:
        """Describe it; nothing is opened before `async with`.

        Args:
            folder: Holds `holdfast.db` and the artifacts; another harness may share it.
            registry: The job kinds; an empty one by default.
            clock: Where everything takes its time from; the machine's by default.
            resources: What job code may ask for by type.
        """
        self.clock: Clock = clock or SystemClock()
        self.registry = registry or Registry()
        self.real_store = SqliteStore(folder / "holdfast.db", clock=self.clock)
        self.faults = FaultyStore(self.real_store)
        """Everything below works through it; add faults to have the store fail."""
        self.store = self.faults.as_store
        self.artifacts = LocalArtifacts(folder / "artifacts", self.clock)
        self.services = Services(
            store=self.store, artifacts=self.artifacts, clock=self.clock, resources=resources or {}
        )
        self.dispatcher = LocalDispatcher(self.real_store.hints)
        self.client = JobClient(self.store, self.registry, self.dispatcher, self.artifacts)
        self.workers: list[Worker] = []

    async def __aenter__(self) -> Self:
        await self.real_store.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.faults.clear()
        for worker in self.workers:
            await worker.drain()
        await self.real_store.close()

    def job(self, kind: str, function: Callable[..., Any], **options: Any) -> None:
        """Register a job kind; `options` as in `App.job`."""
        self.registry.add(kind, function, **options)

    async def start_worker(self, **options: Any) -> Worker:
        """Start a worker; `options` as of `Worker`, but it drains sooner by default."""
        options.setdefault("drain_grace", _DRAIN_GRACE)
        worker = Worker(self.services, self.registry, self.dispatcher, **options)
        await worker.start()
        self.workers.append(worker)
        return worker

    async def abandon(self, worker: Worker) -> None:
        """Have a worker vanish as by kill -9: nothing is settled, nobody signs off."""
        self.workers.remove(worker)
        heartbeat, tasks = worker._heartbeat, [*worker._tasks, *worker._attempts]  # noqa: SLF001 - no such way out
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if heartbeat is not None:
            await heartbeat.stop()

    async def run(self, kind: str, value: Any = None, **options: Any) -> Any:
        """Submit a job and return its output."""
        job = await self.client.submit(kind, value, **options)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.client.result(job.job_id)

    async def submit(self, kind: str, value: Any = None, **options: Any) -> str:
        """Submit a job and return its id."""
        return (await self.client.submit(kind, value, **options)).job_id

    async def end_of(self, job_id: str) -> Job:
        """Return the job once it is terminal."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.client.wait(job_id)

    async def until(self, job_id: str, *statuses: JobStatus) -> Job:
        """Return the job once it is in one of `statuses`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with self.store.hints.subscribe(job_id) as changed:
                while True:
                    changed.clear()
                    job = await self.store.get_job(job_id)
                    if job.status in statuses:
                        return job
                    await changed.wait()

    async def event(self, job_id: str, event_type: str, *, number: int = 1) -> Event:
        """Return the job's event number `number` of a type, once there is one."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with self.store.hints.subscribe(job_id) as changed:
                while True:
                    changed.clear()
                    found = await self.store.read_events(job_id, types=(event_type,), limit=1_000)
                    if len(found) >= number:
                        return found[number - 1]
                    await changed.wait()

    async def event_types(self, job_id: str) -> list[str]:
        """Return the types of all the job's events so far, in order."""
        return [event.type for event in await self.store.read_events(job_id, limit=1_000)]
