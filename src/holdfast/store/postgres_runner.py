"""Batches of operations on a PostgreSQL connection that may be cut at any moment."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TypeVar

import psycopg
from psycopg import errors

from holdfast.errors import HoldfastError, LeaseLost, StoreUnavailableError
from holdfast.ids import jitter
from holdfast.store.postgres_connection import (
    SERVER_NOW,
    PostgresTransaction,
    connect,
    is_cut,
    is_open,
    is_refusal,
    is_repeatable,
    translated,
)
from holdfast.store.postgres_schema import prepare
from holdfast.store.postgres_writes import Write, write_together

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.store.postgres_connection import Connection, Place
    from holdfast.store.writer import Operation, Outcome

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""How long operations wait for a server that has gone away before they are given up."""

_BACKOFF_SECONDS_MIN = 0.02
_BACKOFF_SECONDS_MAX = 0.5
_TRIES = 5
"""Of an operation that keeps losing against other processes."""

_DOMAIN_ERRORS = (HoldfastError, LeaseLost)

# A process that is frozen in the middle of a transaction must not hold its rows for long, and
# nobody waits longer for rows than the half of a lease.
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"
_WRITING = f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '5s'; {LOCK_TIMEOUT}"
_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class _UnsureError(Exception):
    """The connection was cut while a commit was under way: it may have happened."""


class PostgresRunner:
    """See `holdfast.store.writer.Runner`.

    Operations wait through a cut: as long as no commit was on its way, nothing has happened and
    the batch is run again on the next connection. Only where a commit was, its outcome is
    unknown and told as such.
    """

    def __init__(
        self,
        place: Place,
        *,
        now: Callable[[], int] | None = None,
        read_only: bool = False,
        migrate: bool | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Describe a connection.

        Args:
            place: The database.
            now: Microseconds, instead of the server's time.
            read_only: Let all operations of a batch see one state, and change nothing.
            migrate: See `prepare`; None for a connection that leaves the schema to another.
            patience_seconds: How long to wait for a server that has gone away.
        """
        self._place = place
        self._now = now
        self._begin_sql = _READING if read_only else _WRITING
        self._read_only = read_only
        self._migrate = migrate
        self._patience_seconds = patience_seconds
        self.connection: Connection | None = None
        self._away_since = 0.0
        """When the server went away; 0 while it is there."""
        self._opening = migrate is not None
        self.found = ""
        """Revision of the schema when it was opened."""

    def open(self) -> None:
        try:
            self._patiently(self._connected)
        except psycopg.Error as error:
            # Not chained: the driver's error may quote the URL.
            raise self._translated(error) from None
        self._opening = False

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def run(self, batch: Sequence[Operation]) -> tuple[list[Outcome], set[str]]:
        try:
            return self._patiently(lambda: self._together(batch))
        except _UnsureError as error:
            return [(None, self._unsure(error)) for _ in batch], set()
        except BaseException as error:  # noqa: BLE001 - the thread must survive any operation
            if len(batch) == 1 and not self._is_worth_repeating(error):
                return [(None, self._translated(error))], set()
            if self.connection is None or is_cut(error, self.connection):
                # Waited for long enough already; doing so for each would take hours.
                return [(None, self._translated(error)) for _ in batch], set()
            return self._one_by_one(batch)

    # together ----------------------------------------------------------------------------------

    def _together(self, batch: Sequence[Operation]) -> tuple[list[Outcome], set[str]]:
        writes = [operation for operation in batch if isinstance(operation, Write)]
        if len(writes) == len(batch):
            return self._write_at_once(writes)
        connection, now = self._begin()
        topics: set[str] = set()
        written = iter(write_together(connection, writes, now, topics))
        outcomes: list[Outcome] = []
        with connection.pipeline() as pipeline:
            transaction = PostgresTransaction(connection, pipeline, now)
            for operation in batch:
                if isinstance(operation, Write):
                    outcomes.append(next(written))
                    continue
                transaction.changed = False
                try:
                    outcomes.append((operation(transaction), None))
                except _DOMAIN_ERRORS as error:
                    if transaction.changed:
                        raise
                    outcomes.append((None, error))
        self._commit(connection)
        return outcomes, topics | transaction.topics

    def _write_at_once(self, writes: Sequence[Write]) -> tuple[list[Outcome], set[str]]:
        """Run one statement that is a transaction by itself: one round trip for all."""
        connection = self._connected()
        topics: set[str] = set()
        now = None if self._now is None else self._now()
        try:
            return write_together(connection, writes, now, topics), topics
        except psycopg.Error as error:
            if is_cut(error, connection) and not isinstance(error, errors.ReadOnlySqlTransaction):
                raise _UnsureError from error
            raise

    def _one_by_one(self, batch: Sequence[Operation]) -> tuple[list[Outcome], set[str]]:
        outcomes: list[Outcome] = []
        topics: set[str] = set()
        for operation in batch:
            outcome, told = self._alone(operation)
            outcomes.append(outcome)
            topics |= told
        return outcomes, topics

    def _alone(self, operation: Operation) -> tuple[Outcome, set[str]]:
        for tries_left in reversed(range(_TRIES)):
            if tries_left < _TRIES - 1:
                time.sleep(_BACKOFF_SECONDS_MIN * (1 + 4 * jitter()))
            try:
                return self._patiently(lambda: self._once(operation))
            except _UnsureError as error:
                return (None, self._unsure(error)), set()
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                if not (tries_left and is_repeatable(error)):
                    return (None, self._translated(error)), set()
        raise AssertionError("unreachable")

    def _once(self, operation: Operation) -> tuple[Outcome, set[str]]:
        connection, now = self._begin()
        try:
            with connection.pipeline() as pipeline:
                transaction = PostgresTransaction(connection, pipeline, now)
                result = operation(transaction)
        except BaseException:
            self._roll_back()
            raise
        self._commit(connection)
        return (result, None), transaction.topics

    # the connection --------------------------------------------------------------------------------

    def _connected(self) -> Connection:
        if self.connection is not None and not is_open(self.connection):
            self.close()
        if self.connection is None:
            connection = connect(self._place)
            try:
                if self._migrate is not None:
                    self.found = prepare(connection, self._place, migrate=self._migrate)
                    self._migrate = None
            except BaseException:
                connection.close()
                raise
            self.connection = connection
        return self.connection

    def _begin(self) -> tuple[Connection, int]:
        """Begin a transaction; return its connection, the only one to end it on, and its time."""
        connection = self._connected()
        if connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
            self._roll_back()
            connection = self._connected()
        # Several statements in one round trip; the last has the answer.
        cursor = connection.execute(f"{self._begin_sql}; SELECT {SERVER_NOW}")
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        now = int(row[0]) if row else 0
        return connection, now if self._now is None else self._now()

    def _commit(self, connection: Connection) -> None:
        if connection.closed:
            # Nothing was sent: the server has rolled back.
            raise psycopg.OperationalError("the connection was cut before the commit")
        try:
            cursor = connection.execute("COMMIT")
        except psycopg.Error as error:
            if is_cut(error, connection) and not self._read_only:
                raise _UnsureError from error
            raise
        if cursor.statusmessage != "COMMIT":
            raise errors.InFailedSqlTransaction("the transaction had failed, nothing was committed")

    def _roll_back(self) -> None:
        if self.connection is not None and not self.connection.closed:
            try:
                # By the driver's own method, which forgets statements prepared in vain.
                self.connection.rollback()
            except psycopg.Error:
                # Cut: the server has rolled back by itself.
                self.close()

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do `action`, again on a new connection for as long as the server is away."""
        wait = _BACKOFF_SECONDS_MIN
        while True:
            try:
                result = action()
            except psycopg.Error as error:
                cut = is_cut(error, self.connection)
                refused = self._opening and self.connection is None and is_refusal(error)
                if cut:
                    self.close()
                else:
                    self._roll_back()
                if not cut or refused:
                    raise
                self._tell(away=True)
                # Counted from the beginning of the outage, not for each operation anew.
                if time.monotonic() >= self._away_since + self._patience_seconds:
                    raise
            except BaseException:
                self._roll_back_if_begun()
                raise
            else:
                self._tell(away=False)
                return result
            time.sleep(wait * (0.5 + jitter()))
            wait = min(wait * 2, _BACKOFF_SECONDS_MAX)

    def _tell(self, *, away: bool) -> None:
        """Log when the server goes away and when it is back, each once."""
        if away == (self._away_since > 0):
            return
        self._away_since = time.monotonic() if away else 0.0
        if away:
            logger.warning("connection to the store lost, connecting again")
        else:
            logger.info("store answers again")

    def _roll_back_if_begun(self) -> None:
        connection = self.connection
        if connection is None or connection.closed:
            self.close()
        elif connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
            self._roll_back()

    # errors ----------------------------------------------------------------------------------------

    def _is_worth_repeating(self, error: BaseException) -> bool:
        return not isinstance(error, _DOMAIN_ERRORS) and not is_cut(error, self.connection)

    def _unsure(self, error: _UnsureError) -> StoreUnavailableError:
        ours = StoreUnavailableError(
            f"the connection to PostgreSQL at {self._place} was cut during a commit",
            hint="whether the write is there is unknown; the same call may be made again",
        )
        ours.__cause__ = error.__cause__
        return ours

    def _translated(self, error: BaseException) -> BaseException:
        if not isinstance(error, psycopg.Error):
            return error
        # A new one each time: an exception shared by futures would gather all their tracebacks.
        ours = translated(error, self._place, opening=self._opening)
        ours.__cause__ = error
        return ours
