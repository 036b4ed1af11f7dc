"""Batches of operations on a SQLite connection."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, LeaseLost
from holdfast.store.connection import is_locked, patiently, translated
from holdfast.store.transaction import SQLITE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.store.writer import Operation, Outcome

DOMAIN_ERRORS = (HoldfastError, LeaseLost)
"""What an operation raises to refuse; anything else is trouble."""


class SqliteTransaction:
    """See `holdfast.store.transaction.Transaction`."""

    __slots__ = ("execute", "executemany", "now", "topics")

    dialect = SQLITE

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.now = now
        """The store's time in microseconds, one for all operations of a batch."""
        self.topics: set[str] = set()
        """Hints to publish once this is committed."""

    def serialize(self, name: str) -> None:
        """Do nothing: one transaction writes at a time."""

    def try_serialize(self, name: str) -> bool:
        """Return True: one transaction writes at a time."""
        return True


class SqliteRunner:
    """See `holdfast.store.writer.Runner`.

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
        busy_seconds: float,
    ) -> None:
        self._path = path
        self._connect = connect
        self._now = now
        self._busy_seconds = busy_seconds
        self.connection: sqlite3.Connection

    def open(self) -> None:
        try:
            self.connection = self._connect()
        except sqlite3.Error as error:
            raise self._translated(error) from error.__cause__

    def close(self) -> None:
        self.connection.close()

    def run(self, batch: Sequence[Operation]) -> tuple[list[Outcome], set[str]]:
        try:
            return self._together(batch)
        except BaseException as error:  # noqa: BLE001 - the thread must survive any operation
            return self._one_by_one(batch, error)

    def _together(self, batch: Sequence[Operation]) -> tuple[list[Outcome], set[str]]:
        connection = self.connection
        transaction = self._begin()
        outcomes: list[Outcome] = []
        for operation in batch:
            changes = connection.total_changes
            try:
                outcomes.append((operation(transaction), None))
            except DOMAIN_ERRORS as error:
                if connection.total_changes != changes:
                    raise
                outcomes.append((None, error))
        connection.execute("COMMIT")
        return outcomes, transaction.topics

    def _one_by_one(
        self, batch: Sequence[Operation], cause: BaseException
    ) -> tuple[list[Outcome], set[str]]:
        self._roll_back()
        outcomes: list[Outcome] = []
        topics: set[str] = set()
        for operation in batch:
            if is_locked(cause):
                # The lock was waited for already; doing so for each would take hours.
                outcomes.append((None, self._translated(cause)))
                continue
            try:
                transaction = self._begin()
                result = operation(transaction)
                self.connection.execute("COMMIT")
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                self._roll_back()
                outcomes.append((None, self._translated(error)))
                if is_locked(error):
                    cause = error
            else:
                outcomes.append((result, None))
                topics |= transaction.topics
        return outcomes, topics

    def _begin(self) -> SqliteTransaction:
        patiently(lambda: self.connection.execute("BEGIN IMMEDIATE"), self._busy_seconds)
        return SqliteTransaction(self.connection, self._now())

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _translated(self, error: BaseException) -> BaseException:
        if not isinstance(error, sqlite3.Error):
            return error
        # A new one each time: an exception shared by futures would gather all their tracebacks.
        ours = translated(error, self._path)
        ours.__cause__ = error
        return ours
