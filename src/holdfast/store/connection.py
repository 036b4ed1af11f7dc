"""SQLite connections: opening, waiting for locks, errors in our terms, and the reader."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from holdfast.errors import (
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from holdfast.ids import jitter

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Question = tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]
    Answer = tuple[asyncio.Future[Any], Any, Exception | None]

T = TypeVar("T")

PAGE_BYTES = 8192
BACKOFF_SECONDS_MIN = 0.0005
BACKOFF_SECONDS_MAX = 0.01
READ_BUSY_SECONDS = 15.0

_PRIMARY_CODE = 0xFF
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_ACCESS = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})


def connect(path: str) -> sqlite3.Connection:
    """Open the file without touching it; it is created if it is not there."""
    # No busy_timeout: its sleeps of up to 100 ms make the worst commit twice as slow.
    return sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
    )


def is_locked(error: BaseException) -> bool:
    """Whether another connection holds the lock that was asked for."""
    return isinstance(error, sqlite3.Error) and _code(error) in _LOCKED


def translated(error: sqlite3.Error, path: str) -> StoreError:
    """Return the error to raise for one of SQLite's."""
    code = _code(error)
    if code in _LOCKED:
        return StoreUnavailableError(
            f"database {path!r} is locked by another process", hint="try again once it has finished"
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError(
            f"no room left to write to database {path!r}",
            hint="free disk space; nothing committed is lost",
        )
    if code in _CORRUPT:
        return StoreCorruptError(
            f"file {path!r} is damaged or is not a Holdfast database ({error})",
            hint="check the path, or restore the file from a backup",
        )
    if code in _NO_ACCESS:
        return StoreError(
            f"database {path!r} cannot be opened for writing ({error})",
            hint="check that its directory exists and is writable",
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnavailableError(
            f"the disk under database {path!r} failed ({error})",
            hint="whether the write is there is unknown",
        )
    return StoreError(f"database {path!r} refused a statement ({error})")


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & _PRIMARY_CODE


def patiently(action: Callable[[], T], busy_seconds: float) -> T:
    """Return what `action` gives, asking again for up to `busy_seconds` while the file is locked."""
    wait = BACKOFF_SECONDS_MIN
    give_up_at = None
    while True:
        try:
            return action()
        except sqlite3.Error as error:
            if not is_locked(error):
                raise
            present = time.monotonic()
            if give_up_at is None:
                give_up_at = present + busy_seconds
            if present >= give_up_at:
                raise
        time.sleep(wait * (0.5 + jitter()))
        wait = min(wait * 2, BACKOFF_SECONDS_MAX)


def scrub(path: str, busy_seconds: float) -> None:
    """Write the file anew and empty its log, so that what was deleted can be read from neither.

    Writers wait meanwhile; it takes about a second for 100 MB, and as much room on the disk again.

    Raises:
        StoreUnavailableError: Somebody has been writing, or reading an old state, all the time.
        StoreFullError: There is not enough room.
    """

    def empty_log() -> None:
        # A state that somebody still reads is told, not raised.
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            error = sqlite3.OperationalError("the log is in use")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    with contextlib.closing(connect(path)) as connection:
        try:
            patiently(lambda: connection.execute("VACUUM"), busy_seconds)
            patiently(empty_log, busy_seconds)
        except sqlite3.Error as error:
            raise translated(error, path) from error


class Reader:
    """One connection in a thread of its own, for reads that see one state of the database.

    Whatever the tasks of one turn of the loop ask for is read together, from one state.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="holdfast-store-reader")
        self._connection: sqlite3.Connection | None = None
        self._loop = asyncio.get_running_loop()
        self._gathered: list[Question] = []

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `query` finds in the state after the last commit.

        Raises:
            StoreError: The file cannot be read.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        if loop is not self._loop:
            self._thread.submit(self._answer, [(query, answer)])
            return await answer
        if not self._gathered:
            loop.call_soon(self._flush)
        self._gathered.append((query, answer))
        return await answer

    async def close(self) -> None:
        """Finish the reads under way and close the connection."""
        self._flush()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._thread.submit(self._answer, gathered)

    # the thread ------------------------------------------------------------------------------

    def _answer(self, questions: list[Question]) -> None:
        answers: list[Answer] = []
        try:
            connection = self._begun()
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            answers = [(answer, None, self._translated(error)) for _, answer in questions]
        else:
            for query, answer in questions:
                try:
                    found = patiently(functools.partial(query, connection), READ_BUSY_SECONDS)
                    answers.append((answer, found, None))
                except Exception as error:  # noqa: BLE001 - handed to whoever asked
                    answers.append((answer, None, self._translated(error)))
            connection.rollback()
        loop = questions[0][1].get_loop()
        with contextlib.suppress(RuntimeError):
            # A loop that is closed has nobody left to tell.
            loop.call_soon_threadsafe(_deliver, answers)

    def _begun(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path)
            self._connection.execute("PRAGMA query_only = ON")
        connection = self._connection
        patiently(lambda: connection.execute("BEGIN"), READ_BUSY_SECONDS)
        return connection

    def _translated(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return error
        ours = translated(error, self._path)
        ours.__cause__ = error
        return ours

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _deliver(answers: list[Answer]) -> None:
    for answer, found, error in answers:
        if answer.done():
            continue
        if error is None:
            answer.set_result(found)
        else:
            answer.set_exception(error)
