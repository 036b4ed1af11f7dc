"""The store in one SQLite file: no server, any number of processes on one machine."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeVar

from holdfast.clock import SystemClock
from holdfast.errors import StoreError
from holdfast.store.connection import Reader, connect, scrub
from holdfast.store.hints import Hints
from holdfast.store.rows import micros
from holdfast.store.sql_store import SqlStore
from holdfast.store.sqlite_runner import SqliteRunner
from holdfast.store.transaction import SQLITE
from holdfast.store.versions import prepare
from holdfast.store.writer import Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from holdfast.clock import Clock
    from holdfast.store.base import Pruned, PruneRequest
    from holdfast.store.transaction import Connection, Transaction

    Synchronous = Literal["FULL", "NORMAL"]

T = TypeVar("T")

BUSY_SECONDS = 15.0
"""How long a write waits for another process's lock."""

WATCH_SECONDS = 0.1
"""How often other processes' commits are looked for while somebody waits for hints."""

CACHE_KIBIBYTES = 4 * 1024


class SqliteStore(SqlStore):
    """`Store` on a SQLite file; see `holdfast.store.base` for what the verbs promise."""

    dialect = SQLITE

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
        super().__init__()
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
        runner = SqliteRunner(
            self.path,
            connect=self._connect,
            now=lambda: micros(self._clock.now()),
            busy_seconds=self._busy_seconds,
        )
        writer = Writer(runner, publish=lambda topics: self.hints.publish(*topics))
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

    async def prune_jobs(self, request: PruneRequest) -> Pruned:
        pruned = await super().prune_jobs(request)
        if request.subject is not None and not (pruned.job_ids or pruned.more):
            await self._scrub()
        return pruned

    async def _scrub(self) -> None:
        await asyncio.to_thread(scrub, self.path, self._busy_seconds)

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path)
        try:
            prepare(connection, self.path, busy_seconds=self._busy_seconds)
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
            # What is deleted is overwritten, all but what moving rows between pages has left
            # behind in their gaps: for that, see `scrub`.
            connection.execute("PRAGMA secure_delete = ON")
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

    def _run(self, operation: Callable[[Transaction], T]) -> T:
        return self._writer.run(operation)

    def _write(self, operation: Callable[[Transaction], T]) -> asyncio.Future[T]:
        return self._writer.submit(operation)

    async def _read(self, query: Callable[[Connection], T]) -> T:
        if self._open_reader is None:
            raise StoreError(f"store {self.path!r} is not open", hint="await open() first")
        return await self._open_reader.read(query)


def _data_version(tx: Transaction) -> int:
    # Of the writer's own connection, so that only commits of other connections count.
    version: int = tx.execute("PRAGMA data_version").fetchone()[0]
    return version
