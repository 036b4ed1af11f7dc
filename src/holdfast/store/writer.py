"""The writer: one thread, one connection, one commit for all that is waiting.

No timer gathers the operations: while one commit is on its way to the disk, the next ones
queue up, and go into the next transaction together.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from concurrent.futures import Future as ThreadFuture
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from holdfast.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from holdfast.store.transaction import Transaction

    Operation = Callable[[Transaction], Any]
    Outcome = tuple[Any, BaseException | None]
    """What an operation returned or raised."""
    AnyFuture = asyncio.Future[Any] | ThreadFuture[Any]
    Entry = tuple[Operation, AnyFuture]
    Answer = tuple[asyncio.Future[Any], Outcome]

T = TypeVar("T")

BATCH_OPERATIONS_MAX = 1_000
"""Operations in one transaction; more would make the first wait for the last."""


class Runner(Protocol):
    """Runs batches of operations on one connection; called in the writer's thread only."""

    def open(self) -> None:
        """Connect.

        Raises:
            StoreError: The database cannot be used; see its subclasses.
            SchemaVersionError: Another release wrote it.
        """
        ...

    def run(self, batch: Sequence[Operation]) -> tuple[list[Outcome], set[str]]:
        """Run and commit all operations, together if possible; each holds or fails by itself.

        Returns:
            What came of each, in order, and the hints to give.
        """
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


class Writer:
    """Hands operations to a runner in its own thread, all that are waiting at once."""

    def __init__(
        self,
        runner: Runner,
        *,
        publish: Callable[[set[str]], None],
        name: str = "writer",
        batch_max: int = BATCH_OPERATIONS_MAX,
    ) -> None:
        """Describe a writer.

        Args:
            runner: What runs the operations.
            publish: Called on this loop with the hints of what was committed.
            name: Of its thread.
            batch_max: Operations in one transaction.
        """
        self.runner = runner
        self._publish = publish
        self._name = name
        self._batch_max = batch_max
        self._queue: queue.SimpleQueue[list[Entry] | None] = queue.SimpleQueue()
        self._gathered: list[Entry] = []
        self._backlog: deque[Entry] = deque()
        self._lock = threading.Lock()
        self._closing = False
        self._opened: ThreadFuture[None] = ThreadFuture()
        self._closed: ThreadFuture[None] = ThreadFuture()
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Start the thread and connect.

        Raises:
            StoreError, SchemaVersionError: See `Runner.open`.
        """
        threading.Thread(target=self._work, name=f"holdfast-store-{self._name}", daemon=True).start()
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
            self.runner.open()
        except BaseException as error:  # noqa: BLE001 - handed to whoever opens
            self._closing = True
            self._closed.set_result(None)
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        try:
            while batch := self._take():
                outcomes, topics = self.runner.run([operation for operation, _ in batch])
                self._resolve(zip(batch, outcomes, strict=True), topics)
        finally:
            self.runner.close()
            self._closed.set_result(None)

    def _take(self) -> list[Entry]:
        """Return the next batch; empty at the end."""
        backlog = self._backlog
        ended = False
        if not backlog:
            entries = self._queue.get()
            ended = entries is None
            backlog.extend(entries or ())
        while len(backlog) < self._batch_max and not ended:
            try:
                entries = self._queue.get_nowait()
            except queue.Empty:
                break
            ended = entries is None
            backlog.extend(entries or ())
        if ended:
            self._queue.put(None)
        batch = list(islice(backlog, self._batch_max))
        for _ in batch:
            backlog.popleft()
        return batch

    def _resolve(self, answers: Iterable[tuple[Entry, Outcome]], topics: set[str]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
        for (_, future), outcome in answers:
            if isinstance(future, ThreadFuture):
                _settle(future, *outcome)
            else:
                by_loop.setdefault(future.get_loop(), []).append((future, outcome))
        if topics:
            by_loop.setdefault(self._loop, [])
        for loop, group in by_loop.items():
            told = topics if loop is self._loop else set[str]()
            try:
                loop.call_soon_threadsafe(self._deliver, group, told)
            except RuntimeError:
                # That loop is closed: nobody is left to tell; what was committed stays.
                continue

    def _deliver(self, answers: list[Answer], topics: set[str]) -> None:
        for future, outcome in answers:
            if not future.done():
                _settle(future, *outcome)
        if topics:
            self._publish(topics)


def _settle(future: AnyFuture, result: object, error: BaseException | None) -> None:
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
