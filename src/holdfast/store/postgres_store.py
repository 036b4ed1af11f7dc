"""The store in a PostgreSQL database: any number of processes on any number of machines."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, TypeVar

from psycopg import errors

from holdfast.clock import SystemClock
from holdfast.errors import StoreError, StoreUnavailableError
from holdfast.ids import new_id
from holdfast.store import jobs, workers
from holdfast.store.base import OUTPUT_COMPLETED, Pulse
from holdfast.store.bounds import check_new_job
from holdfast.store.hints import Hints
from holdfast.store.postgres_connection import Place
from holdfast.store.postgres_hints import Exchange
from holdfast.store.postgres_runner import LOCK_TIMEOUT, PATIENCE_SECONDS, PostgresRunner
from holdfast.store.postgres_writes import Write
from holdfast.store.rows import micros
from holdfast.store.sql_store import SqlStore
from holdfast.store.transaction import POSTGRESQL
from holdfast.store.versions import NO_SCHEMA
from holdfast.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.clock import Clock
    from holdfast.model import Checkpoint, Lease, Progress
    from holdfast.store.base import NewEvent, NewJob, Submitted, WorkerRecord
    from holdfast.store.transaction import Connection, Transaction

logger = logging.getLogger(__name__)

T = TypeVar("T")

KEY_WAITS_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 1.6)
"""Between two tries to submit with a key that another transaction holds."""

_KEY_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '50ms'"
"""For as long the writes of this process may wait for a key; a caller's transaction may stay open."""

_CANCELS_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"
"""The next heartbeat must not be late because nobody can read the jobs for a while."""


class _KeyHeldError(Exception):
    """Another transaction has written the idempotency key and has not ended."""


class PostgresStore(SqlStore):
    """`Store` on a PostgreSQL database; see `holdfast.store.base` for what the verbs promise.

    Five connections: one for the writes of attempts, committed together; one for lanes and changes
    of jobs that other processes write to as well, one at a time; one for reads; one that listens;
    and, in workers, one for heartbeats, which wait for nothing else.
    """

    dialect = POSTGRESQL

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        migrate: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Describe a store; nothing is touched before `open`.

        Args:
            url: `postgresql://user:password@host:port/database`, as libpq takes it.
            clock: Where times come from in tests; else the server's clock is used, also instead of
                `SystemClock`, so that workers need not agree on the time.
            migrate: Bring an older schema forward.
            patience_seconds: How long operations wait for a server that has gone away.

        Raises:
            ConfigError: The URL cannot be read.
        """
        super().__init__()
        self.hints = Hints()
        self.place = Place(url)
        self._clock = None if clock is None or isinstance(clock, SystemClock) else clock
        self._migrate = migrate
        self._patience_seconds = patience_seconds
        self._open: tuple[Writer, Writer, Writer] | None = None
        self._exchange: Exchange | None = None
        self._heartbeat = self._runner()
        self._direct = threading.Lock()

    async def open(self) -> None:
        """Connect; create the tables in an empty database.

        Raises:
            SchemaVersionError: It is at another schema than this release's; nothing was touched.
            StoreCorruptError: It holds another application's tables; nothing was touched.
            ConfigError: The server refuses the user.
            StoreUnavailableError: The server does not answer.
        """
        if self._open is not None:
            return
        runner = self._runner(migrate=self._migrate)
        writer = Writer(runner, publish=self._publish)
        control = Writer(self._runner(), publish=self._publish, name="control", batch_max=1)
        reader = Writer(self._runner(read_only=True), publish=self._publish, name="reader")
        opened: list[Writer] = []
        try:
            for one in (writer, control, reader):
                await one.open()
                opened.append(one)
        except BaseException:
            for one in opened:
                await one.close()
            raise
        self._open = (writer, control, reader)
        self.created = runner.found == NO_SCHEMA
        self._exchange = Exchange(self.place, self.hints, control.submit, new_id("process"))
        self._exchange.start()

    async def close(self) -> None:
        """Commit everything that was asked for and disconnect; closing twice is allowed."""
        opened, exchange = self._open, self._exchange
        if opened is None or exchange is None:
            return
        writer, control, reader = opened
        await writer.close()
        await exchange.close()
        self._open = self._exchange = None
        await control.close()
        await reader.close()
        await asyncio.to_thread(self._close_heartbeat)

    def _close_heartbeat(self) -> None:
        with self._direct:
            self._heartbeat.close()

    async def listening(self) -> None:
        """Return once hints of other processes arrive by notification."""
        if self._exchange is not None:
            await self._exchange.listening.wait()

    def _runner(self, *, read_only: bool = False, migrate: bool | None = None) -> PostgresRunner:
        clock = self._clock
        return PostgresRunner(
            self.place,
            now=None if clock is None else lambda: micros(clock.now()),
            read_only=read_only,
            migrate=migrate,
            patience_seconds=self._patience_seconds,
        )

    def _publish(self, topics: set[str]) -> None:
        self.hints.publish(*topics)
        if self._exchange is not None:
            self._exchange.tell(topics)

    @property
    def _writers(self) -> tuple[Writer, Writer, Writer]:
        if self._open is None:
            raise StoreError(f"the store at {self.place} is not open", hint="await open() first")
        return self._open

    def _write(self, operation: Callable[[Transaction], T]) -> asyncio.Future[T]:
        return self._writers[0].submit(operation)

    def _write_alone(self, operation: Callable[[Transaction], T]) -> asyncio.Future[T]:
        return self._writers[1].submit(operation)

    def _run(self, operation: Callable[[Transaction], T]) -> T:
        """Run an operation in the caller's thread, on a connection that waits for nobody else's."""
        if self._open is None:
            raise StoreError(f"the store at {self.place} is not open", hint="await open() first")
        with self._direct:
            ((result, error),), topics = self._heartbeat.run([operation])
        if error is not None:
            raise error
        self.hints.publish(*topics)
        return result  # type: ignore[no-any-return]

    async def _read(self, query: Callable[[Connection], T]) -> T:
        return await self._writers[2].submit(query)

    async def _scrub(self) -> None:
        """Do nothing: the server vacuums by itself."""

    def beat(self, worker: WorkerRecord, *, first: bool) -> Pulse:
        """See `Store.beat`; while the jobs are locked the worker stays alive and no cancels are told."""
        if not self._run(lambda tx: workers.renew(tx, worker, first=first)):
            return Pulse(alive=False)
        try:
            cancels = self._run(lambda tx: _find_cancels(tx, worker.worker_id))
        except StoreError as error:
            # The worker is renewed, which is what counts; the next beat asks again.
            logger.debug("cancels are not known now", extra={"error": error.code})
            return Pulse(alive=True)
        return Pulse(alive=True, cancels=cancels)

    async def insert_job(self, new: NewJob) -> Submitted:
        """See `Store.insert_job`; waits between tries for a key that another transaction holds."""
        if new.idempotency_key is None:
            return await super().insert_job(new)
        check_new_job(new)
        for wait in KEY_WAITS_SECONDS:
            try:
                return await self._write(lambda tx: _insert_keyed(tx, new))
            except _KeyHeldError:
                # Here, not in the database, where all writes of this process would wait along.
                await asyncio.sleep(wait)
        try:
            return await self._write(lambda tx: _insert_keyed(tx, new))
        except _KeyHeldError as error:
            raise StoreUnavailableError(
                f"key {new.idempotency_key!r} is held by another transaction that does not end",
                hint="commit or roll back the one that submitted with this key, then submit again",
            ) from error

    # written together with all others of the batch -------------------------------------------------

    async def put_checkpoint(
        self, lease: Lease, checkpoint: Checkpoint, events: Sequence[NewEvent]
    ) -> None:
        write = Write(lease, checkpoint, events)
        if checkpoint.artifact is not None or any(e.type == OUTPUT_COMPLETED for e in events):
            # More than one kind of row to write, and rare.
            await self._write(write.__call__)
        else:
            await self._write(write)

    async def append_events(
        self, lease: Lease, events: Sequence[NewEvent], progress: Progress | None = None
    ) -> int:
        seq = await self._write(Write(lease, None, events, progress))
        return seq or 0


def _insert_keyed(tx: Transaction, new: NewJob) -> Submitted:
    tx.execute(_KEY_LOCK_TIMEOUT)
    try:
        submitted = jobs.insert_job(tx, new)
    except errors.LockNotAvailable as error:
        raise _KeyHeldError from error
    tx.execute(LOCK_TIMEOUT)
    return submitted


def _find_cancels(tx: Transaction, worker_id: str) -> tuple[str, ...]:
    tx.execute(_CANCELS_LOCK_TIMEOUT)
    return workers.find_cancels(tx, worker_id)
