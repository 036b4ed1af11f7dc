"""The store in one SQLite file: no server, any number of processes on one machine."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeVar

from holdfast.clock import SystemClock
from holdfast.errors import StoreError
from holdfast.store import checkpoints, controls, jobs, lanes, leases, usage, workers
from holdfast.store import events as _events
from holdfast.store.connection import Reader, connect
from holdfast.store.hints import Hints
from holdfast.store.rows import micros
from holdfast.store.versions import HEAD, prepare
from holdfast.store.writer import Transaction, Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from holdfast.clock import Clock
    from holdfast.model import Budget, Checkpoint, Event, Job, Lease, Progress, UndoCall
    from holdfast.store.base import (
        CallIntent,
        CallOutcome,
        Claim,
        ClaimRequest,
        JobQuery,
        JobRecords,
        LaneAdjustment,
        LaneGrant,
        LaneRequest,
        LaneState,
        NewEvent,
        NewJob,
        Pulse,
        Settlement,
        StoreReport,
        Submitted,
        Wakeup,
        WorkerRecord,
    )

    Synchronous = Literal["FULL", "NORMAL"]

T = TypeVar("T")

BUSY_SECONDS = 15.0
"""How long a write waits for another process's lock."""

WATCH_SECONDS = 0.25
"""How often other processes' commits are looked for while somebody waits for hints."""

CACHE_KIBIBYTES = 4 * 1024


class SqliteStore:
    """`Store` on a SQLite file; see `holdfast.store.base` for what the verbs promise."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        synchronous: Synchronous = "FULL",
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        """Describe a store; nothing is touched before `open`.

        Args:
            path: The file; its directory must exist.
            clock: Where all times come from.
            synchronous: With NORMAL, a power loss may take the last commits; a crash never does.
            busy_seconds: How long a write waits for another process's lock.
        """
        self.hints = Hints()
        self.path = os.fspath(path)
        self._clock: Clock = clock or SystemClock()
        self._synchronous: Synchronous = synchronous
        self._busy_seconds = busy_seconds
        self._open_writer: Writer | None = None
        self._open_reader: Reader | None = None
        self._watch: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the file, create or migrate it.

        Raises:
            SchemaVersionError: A newer release wrote it; nothing was touched.
            StoreCorruptError: The file is not a Holdfast database; nothing was touched.
            StoreError: The path cannot be opened or written.
        """
        if self._open_writer is not None:
            return
        writer = Writer(
            self.path,
            connect=self._connect,
            now=lambda: micros(self._clock.now()),
            publish=lambda topics: self.hints.publish(*topics),
            busy_seconds=self._busy_seconds,
        )
        await writer.open()
        self._open_writer = writer
        self._open_reader = Reader(self.path)
        self._watch = asyncio.create_task(self._watch_others(writer), name="holdfast-store-watch")

    async def close(self) -> None:
        """Commit everything that was asked for and close the file; closing twice is allowed."""
        writer, reader, watch = self._open_writer, self._open_reader, self._watch
        self._open_writer = self._open_reader = self._watch = None
        if watch is not None:
            watch.cancel()
            # Not awaited itself: its cancellation would look like the caller's own.
            await asyncio.wait([watch])
        if writer is not None:
            await writer.close()
        if reader is not None:
            await reader.close()

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path)
        try:
            prepare(connection, self.path, busy_seconds=self._busy_seconds)
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        except BaseException:
            connection.close()
            raise
        return connection

    async def _watch_others(self, writer: Writer) -> None:
        """Hint at everything whenever another process has committed."""
        seen: int | None = None
        while True:
            await self._clock.sleep(WATCH_SECONDS)
            if self.hints.idle:
                seen = None
                continue
            with suppress(StoreError):
                version = await writer.submit(_data_version)
                # After a pause nothing is known of what came between, so that counts as news.
                if version != seen:
                    self.hints.publish_all()
                seen = version

    @property
    def _writer(self) -> Writer:
        if self._open_writer is None:
            raise StoreError(f"store {self.path!r} is not open", hint="await open() first")
        return self._open_writer

    def _write(self, operation: Callable[[Transaction], T]) -> asyncio.Future[T]:
        return self._writer.submit(operation)

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._open_reader is None:
            raise StoreError(f"store {self.path!r} is not open", hint="await open() first")
        return await self._open_reader.read(query)

    # jobs ------------------------------------------------------------------------------------

    async def insert_job(self, new: NewJob) -> Submitted:
        return await self._write(lambda tx: jobs.insert_job(tx, new))

    async def get_job(self, job_id: str) -> Job:
        return await self._read(lambda connection: jobs.load_job(connection, job_id))

    async def list_jobs(self, query: JobQuery) -> Sequence[Job]:
        return await self._read(lambda connection: jobs.list_jobs(connection, query))

    async def get_records(self, job_id: str) -> JobRecords:
        return await self._read(lambda connection: jobs.get_records(connection, job_id))

    async def claim_jobs(self, request: ClaimRequest) -> Sequence[Claim]:
        return await self._write(lambda tx: leases.claim_jobs(tx, request))

    async def settle_attempt(self, lease: Lease, settlement: Settlement) -> Job:
        return await self._write(lambda tx: leases.settle_attempt(tx, lease, settlement))

    async def cancel_job(self, job_id: str) -> Job:
        return await self._write(lambda tx: controls.cancel_job(tx, job_id))

    async def retry_job(self, job_id: str) -> Job:
        return await self._write(lambda tx: controls.retry_job(tx, job_id))

    async def fork_job(self, source_id: str, new: NewJob, *, keep: Sequence[str] | None) -> Job:
        return await self._write(lambda tx: jobs.fork_job(tx, source_id, new, keep))

    async def signal_job(self, job_id: str, name: str, payload: bytes) -> int:
        return await self._write(lambda tx: controls.signal_job(tx, job_id, name, payload))

    async def set_budget(self, job_id: str, budget: Budget) -> Job:
        return await self._write(lambda tx: controls.set_budget(tx, job_id, budget))

    # workers -----------------------------------------------------------------------------------

    def beat(self, worker: WorkerRecord, *, first: bool) -> Pulse:
        return self._writer.run(lambda tx: workers.beat(tx, worker, first=first))

    async def release_worker(self, worker_id: str) -> Sequence[str]:
        return await self._write(lambda tx: workers.release_worker(tx, worker_id))

    async def rescue_jobs(self, dead: Sequence[str] = ()) -> Sequence[str]:
        return await self._write(lambda tx: workers.rescue_jobs(tx, dead))

    async def wake_jobs(self, *, redispatch_after: timedelta) -> Wakeup:
        return await self._write(lambda tx: controls.wake_jobs(tx, redispatch_after))

    # attempts ----------------------------------------------------------------------------------

    async def begin_step(self, lease: Lease, key: str, undo: UndoCall | None) -> None:
        await self._write(lambda tx: checkpoints.begin_step(tx, lease, key, undo))

    async def put_checkpoint(
        self, lease: Lease, checkpoint: Checkpoint, events: Sequence[NewEvent]
    ) -> None:
        await self._write(lambda tx: checkpoints.put_checkpoint(tx, lease, checkpoint, events))

    async def append_events(
        self, lease: Lease, events: Sequence[NewEvent], progress: Progress | None = None
    ) -> int:
        return await self._write(lambda tx: _events.append_events(tx, lease, events, progress))

    async def read_events(
        self, job_id: str, *, after: int = 0, limit: int = 500, types: Sequence[str] = ()
    ) -> Sequence[Event]:
        return await self._read(
            lambda connection: _events.read_events(connection, job_id, after, limit, types)
        )

    # money -------------------------------------------------------------------------------------

    async def reserve_call(self, lease: Lease, intent: CallIntent) -> None:
        await self._write(lambda tx: usage.reserve_call(tx, lease, intent))

    async def settle_call(self, lease: Lease, call_id: str, outcome: CallOutcome) -> None:
        await self._write(lambda tx: usage.settle_call(tx, lease, call_id, outcome))

    # lanes -------------------------------------------------------------------------------------

    async def take_lane(self, request: LaneRequest) -> LaneGrant:
        return await self._write(lambda tx: lanes.take_lane(tx, request))

    async def adjust_lane(self, adjustment: LaneAdjustment) -> LaneState:
        return await self._write(lambda tx: lanes.adjust_lane(tx, adjustment))

    # operations --------------------------------------------------------------------------------

    async def inspect(self) -> StoreReport:
        return await self._read(lambda connection: workers.inspect(connection, HEAD))


def _data_version(tx: Transaction) -> int:
    # Of the writer's own connection, so that only commits of other connections count.
    version: int = tx.execute("PRAGMA data_version").fetchone()[0]
    return version
