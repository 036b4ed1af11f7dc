"""The writer: one thread, one connection, one commit for all that is waiting.

No timer gathers the operations: while one commit is on its way to the disk, the next ones
queue up, and go into the next transaction together.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from concurrent.futures import Future as ThreadFuture
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.errors import HoldfastError, LeaseLost, StoreError
from holdfast.store.connection import is_locked, patiently, translated

if TYPE_CHECKING:
    from collections.abc import Callable

    Operation = Callable[["Transaction"], Any]
    AnyFuture = asyncio.Future[Any] | ThreadFuture[Any]
    Entry = tuple[Operation, AnyFuture]
    Outcome = tuple[AnyFuture, Any, BaseException | None]

T = TypeVar("T")

BATCH_OPERATIONS_MAX = 1_000
"""Operations in one transaction; more would make the first wait for the last."""

_DOMAIN_ERRORS = (HoldfastError, LeaseLost)


class Transaction:
    """What an operation works with: the connection, the time, and the hints to give after commit.

    An operation may run twice (see `Writer`), so it changes nothing but the database.
    """

    __slots__ = ("execute", "executemany", "now", "topics")

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.now = now
        """The store's time in microseconds, one for all operations of a batch."""
        self.topics: set[str] = set()
        """Hints to publish once this is committed."""


class Writer:
    """Runs operations in batches; each holds or fails by itself.

    An operation that raises one of our own errors before its first write leaves the batch
    alone. After anything else the batch is rolled back and each operation is run again in a
    transaction of its own.
    """

    def __init__(
        self,
        path: str,
        *,
        connect: Callable[[], sqlite3.Connection],
        now: Callable[[], int],
        publish: Callable[[set[str]], None],
        busy_seconds: float,
    ) -> None:
        self._path = path
        self._connect = connect
        self._now = now
        self._publish = publish
        self._busy_seconds = busy_seconds
        self._queue: queue.SimpleQueue[list[Entry] | None] = queue.SimpleQueue()
        self._gathered: list[Entry] = []
        self._backlog: deque[Entry] = deque()
        self._lock = threading.Lock()
        self._closing = False
        self._opened: ThreadFuture[None] = ThreadFuture()
        self._closed: ThreadFuture[None] = ThreadFuture()
        self._connection: sqlite3.Connection
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Start the thread and connect.

        Raises:
            StoreError: The file cannot be opened; see its subclasses.
            SchemaVersionError: A newer release wrote the file.
        """
        threading.Thread(target=self._work, name="holdfast-store-writer", daemon=True).start()
        await asyncio.wrap_future(self._opened)

    def submit(self, operation: Callable[[Transaction], T]) -> asyncio.Future[T]:
        """Queue an operation; the future resolves after its commit.

        Cancelling the future does not take the operation back.

        Raises:
            StoreError: The store is closed.
        """
        loop = asyncio.get_running_loop()
        if self._closing:
            raise StoreError("the store is closed", hint="open it before use")
        future: asyncio.Future[T] = loop.create_future()
        if loop is not self._loop:
            self._put([(operation, future)])
            return future
        # Whatever the tasks of one turn of the loop write goes to the thread in one go.
        if not self._gathered:
            loop.call_soon(self._flush)
        self._gathered.append((operation, future))
        return future

    def run(self, operation: Callable[[Transaction], T]) -> T:
        """Run an operation and block until its commit; for threads other than the loop's.

        Raises:
            StoreError: The store is closed.
        """
        future: ThreadFuture[T] = ThreadFuture()
        self._put([(operation, future)])
        return future.result()

    async def close(self) -> None:
        """Finish everything queued, close the connection, end the thread."""
        self._flush()
        with self._lock:
            if not self._closing:
                self._closing = True
                self._queue.put(None)
        await asyncio.wrap_future(self._closed)

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._queue.put(gathered)

    def _put(self, entries: list[Entry]) -> None:
        # Under the lock, so that nothing can be queued behind the end.
        with self._lock:
            if self._closing:
                raise StoreError("the store is closed", hint="open it before use")
            self._queue.put(entries)

    # the thread ----------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._connection = self._connect()
        except BaseException as error:  # noqa: BLE001 - handed to whoever opens
            self._closing = True
            self._closed.set_result(None)
            self._opened.set_exception(self._translated(error))
            return
        self._opened.set_result(None)
        try:
            while batch := self._take():
                self._commit(batch)
        finally:
            self._connection.close()
            self._closed.set_result(None)

    def _take(self) -> list[Entry]:
        """Return the next batch; empty at the end."""
        backlog = self._backlog
        ended = False
        if not backlog:
            entries = self._queue.get()
            ended = entries is None
            backlog.extend(entries or ())
        while len(backlog) < BATCH_OPERATIONS_MAX and not ended:
            try:
                entries = self._queue.get_nowait()
            except queue.Empty:
                break
            ended = entries is None
            backlog.extend(entries or ())
        if ended:
            self._queue.put(None)
        batch = list(islice(backlog, BATCH_OPERATIONS_MAX))
        for _ in batch:
            backlog.popleft()
        return batch

    def _commit(self, batch: list[Entry]) -> None:
        try:
            outcomes, topics = self._together(batch)
        except BaseException as error:  # noqa: BLE001 - the thread must survive any operation
            outcomes, topics = self._one_by_one(batch, error)
        self._resolve(outcomes, topics)

    def _together(self, batch: list[Entry]) -> tuple[list[Outcome], set[str]]:
        connection = self._connection
        transaction = self._begin()
        outcomes: list[Outcome] = []
        for operation, future in batch:
            changes = connection.total_changes
            try:
                outcomes.append((future, operation(transaction), None))
            except _DOMAIN_ERRORS as error:
                if connection.total_changes != changes:
                    raise
                outcomes.append((future, None, error))
        connection.execute("COMMIT")
        return outcomes, transaction.topics

    def _one_by_one(self, batch: list[Entry], cause: BaseException) -> tuple[list[Outcome], set[str]]:
        self._roll_back()
        outcomes: list[Outcome] = []
        topics: set[str] = set()
        for operation, future in batch:
            if is_locked(cause):
                # The lock was waited for already; doing so for each would take hours.
                outcomes.append((future, None, self._translated(cause)))
                continue
            try:
                transaction = self._begin()
                outcome = operation(transaction)
                self._connection.execute("COMMIT")
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                self._roll_back()
                outcomes.append((future, None, self._translated(error)))
                if is_locked(error):
                    cause = error
            else:
                outcomes.append((future, outcome, None))
                topics |= transaction.topics
        return outcomes, topics

    def _begin(self) -> Transaction:
        patiently(lambda: self._connection.execute("BEGIN IMMEDIATE"), self._busy_seconds)
        return Transaction(self._connection, self._now())

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _translated(self, error: BaseException) -> BaseException:
        if not isinstance(error, sqlite3.Error):
            return error
        # A new one each time: an exception shared by futures would gather all their tracebacks.
        ours = translated(error, self._path)
        ours.__cause__ = error
        return ours

    def _resolve(self, outcomes: list[Outcome], topics: set[str]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[Outcome]] = {}
        for outcome in outcomes:
            future = outcome[0]
            if isinstance(future, ThreadFuture):
                _settle(future, outcome[1], outcome[2])
            else:
                by_loop.setdefault(future.get_loop(), []).append(outcome)
        if topics:
            by_loop.setdefault(self._loop, [])
        for loop, group in by_loop.items():
            told = topics if loop is self._loop else set[str]()
            try:
                loop.call_soon_threadsafe(self._deliver, group, told)
            except RuntimeError:
                # That loop is closed: nobody is left to tell; what was committed stays.
                continue

    def _deliver(self, outcomes: list[Outcome], topics: set[str]) -> None:
        for future, result, error in outcomes:
            if not future.done():
                _settle(future, result, error)
        if topics:
            self._publish(topics)


def _settle(future: AnyFuture, result: object, error: BaseException | None) -> None:
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
