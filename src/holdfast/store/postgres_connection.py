"""PostgreSQL connections: opening, what is told of their errors, and one transaction on them."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import select
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors

from holdfast.errors import (
    ConfigError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from holdfast.store.transaction import POSTGRESQL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5
SILENCE_SECONDS = 10
"""A connection whose other end is silent for so long counts as cut."""

_GOODBYE_READS = 4
_SEARCH_PATH = re.compile(r"-c\s*search_path=((?:\\.|\S)+)")

KEEPALIVE: dict[str, Any] = {
    "keepalives_idle": SILENCE_SECONDS,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": SILENCE_SECONDS * 1000,
}
"""Options of a connection that has to notice when its other end is gone."""

Connection = psycopg.Connection[tuple[Any, ...]]

SERVER_NOW = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
"""The server's time in microseconds: one clock for all workers."""

_REPEATABLE = (errors.UniqueViolation, errors.DeadlockDetected, errors.SerializationFailure)
_REFUSED = (
    errors.InvalidPassword,
    errors.InvalidAuthorizationSpecification,
    errors.InvalidCatalogName,
    errors.InsufficientPrivilege,
)
_REFUSALS = (
    "password authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf",
)
_PASSING = (
    *_REPEATABLE,
    errors.QueryCanceled,
    errors.LockNotAvailable,
    errors.TooManyConnections,
    errors.OutOfMemory,
)


class Place:
    """Where a database is; `str` of it may be shown, for it holds no password."""

    def __init__(self, url: str) -> None:
        """Check the URL.

        Raises:
            ConfigError: It is not one of a PostgreSQL database.
        """
        try:
            # As libpq reads it: others end the host at a # in the password.
            parts = psycopg.conninfo.conninfo_to_dict(url)
            port = str(parts.get("port") or 5432)
            # Several servers of one cluster may be named, separated by commas.
            [int(each) for each in port.split(",") if each]
            self._shown = f"{parts.get('host') or 'localhost'}:{port}/{parts.get('dbname') or ''}"
            chosen = _SEARCH_PATH.search(str(parts.get("options") or ""))
        except (psycopg.ProgrammingError, ValueError):
            # The cause is not chained: it quotes the URL, password included.
            raise ConfigError(
                "the store's PostgreSQL url cannot be read",
                hint="write postgresql://user:password@host:5432/database; escape special"
                " characters of the password as in %40 for @",
            ) from None
        self.url = url
        self.search_path = None if chosen is None else re.sub(r"\\(.)", r"\1", chosen[1])
        """Schemas that the URL chooses by its options; None if it leaves that to the server."""

    def __str__(self) -> str:
        return self._shown


def connect(place: Place) -> Connection:
    """Open a connection on which every statement is a transaction unless one is begun.

    Raises:
        psycopg.Error: See `translated`.
    """
    connection = psycopg.connect(
        place.url,
        autocommit=True,
        application_name="holdfast",
        connect_timeout=CONNECT_SECONDS,
        **KEEPALIVE,
    )
    try:
        pid = connection.execute("SELECT pg_backend_pid()").fetchone()
        if is_pooled_pid(pid, connection.info):
            # Statements prepared on one of the pooler's connections are unknown to the others.
            connection.prepare_threshold = None
        elif connection.execute("SHOW synchronous_commit").fetchone() == ("off",):
            # What a verb has returned is durable, whatever else this database is used for.
            connection.execute("SET synchronous_commit TO on")
    except BaseException:
        connection.close()
        raise
    return connection


IDENTITY_SQL = (
    "SELECT current_database()::text,"
    " (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint,"
    " to_regclass('jobs')::oid::bigint"
)
"""Tells the database and the schema that a connection is on from all others, if its tables are there."""


def ask_identity(place: Place) -> tuple[Any, ...]:
    """Return what `IDENTITY_SQL` gives at a place.

    Raises:
        StoreError, ConfigError: It cannot be asked; see `translated`.
    """
    try:
        with contextlib.closing(connect(place)) as connection:
            row = connection.execute(IDENTITY_SQL).fetchone()
    except psycopg.Error as error:
        # Not chained: the driver's error may quote the URL.
        raise translated(error, place, opening=True) from None
    return row or ()


def is_pooled_pid(told: tuple[Any, ...] | None, info: psycopg.ConnectionInfo) -> bool:
    """Whether a pooler such as pgbouncer stands between: the process id it told is an invented one.

    Args:
        told: What `SELECT pg_backend_pid()` gave.
        info: Of the same connection.
    """
    return told != (info.backend_pid,)


def is_open(connection: Connection) -> bool:
    """Whether the server has not said goodbye since the last statement.

    Noticed before a statement is sent, a cut leaves no doubt about what became of it.
    """
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    for _ in range(_GOODBYE_READS):
        # Its last words first, then the end of the stream.
        if not poll.poll(0):
            break
        try:
            connection.pgconn.consume_input()
        except psycopg.OperationalError:
            return False
    return connection.pgconn.status == psycopg.pq.ConnStatus.OK


def is_cut(error: BaseException, connection: Connection | None) -> bool:
    """Whether the server has gone away, or has become one that cannot be written to."""
    return isinstance(error, psycopg.Error) and (
        connection is None
        or connection.closed
        or isinstance(error, errors.ReadOnlySqlTransaction | errors.CannotConnectNow)
    )


def is_repeatable(error: BaseException) -> bool:
    """Whether the same operation may succeed at once: it lost against another process's."""
    return isinstance(error, _REPEATABLE)


def is_refusal(error: psycopg.Error) -> bool:
    """Whether connecting again is pointless until somebody mends the configuration."""
    # While connecting there is no SQLSTATE, only the server's words.
    return isinstance(error, _REFUSED) or any(refusal in str(error) for refusal in _REFUSALS)


def translated(error: psycopg.Error, place: Place, *, opening: bool) -> StoreError | ConfigError:
    """Return the error to raise for one of the driver's.

    Args:
        error: The driver's.
        place: The database.
        opening: Whether this is the first connection: later, a refused user is trouble that may pass.
    """
    told = _first_line(error)
    if isinstance(error, errors.DiskFull):
        return StoreFullError(
            f"no room left to write to PostgreSQL at {place}",
            hint="free disk space; nothing committed is lost",
        )
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return StoreCorruptError(
            f"PostgreSQL at {place} lacks a table or column of this release ({told})",
            hint="run 'holdfast migrate', or restore the database from a backup",
        )
    if isinstance(error, _PASSING):
        return StoreUnavailableError(
            f"PostgreSQL at {place} gave up a statement ({told})",
            hint="nothing of it was kept; look for long locks, or raise statement_timeout",
        )
    if opening and is_refusal(error):
        return ConfigError(
            f"PostgreSQL at {place} refuses this user ({told})",
            hint="check user, password and database of HOLDFAST_STORE",
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreUnavailableError(
            f"PostgreSQL at {place} does not answer ({told})",
            hint="check that the server runs and can be reached from here",
        )
    return StoreError(f"PostgreSQL at {place} refused a statement ({type(error).__name__}: {told})")


def _first_line(error: psycopg.Error) -> str:
    # Only the first line: the rest quotes the statement or the values of a row.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if "FATAL" in line] or lines
    return reasons[0] if reasons else type(error).__name__


# transactions ------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def _in_words_of_driver(sql: str) -> tuple[str, bool]:
    """Return the statement with the driver's placeholders, and whether it changes anything."""
    text = sql.replace("%", "%%").replace("?", "%s")
    return text, not text.lstrip().startswith("SELECT")


class PostgresCursor:
    """What a statement gave, waited for only when somebody looks."""

    __slots__ = ("_cursor", "_pipeline", "fetchall", "fetchone")

    def __init__(self, cursor: psycopg.Cursor[tuple[Any, ...]], pipeline: psycopg.Pipeline) -> None:
        self._cursor = cursor
        self._pipeline = pipeline
        self.fetchone = cursor.fetchone
        self.fetchall = cursor.fetchall

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor)

    @property
    def rowcount(self) -> int:
        """Rows written or found."""
        if self._cursor.rowcount < 0:
            self._pipeline.sync()
        return self._cursor.rowcount


class PostgresTransaction:
    """See `holdfast.store.transaction.Transaction`.

    Statements whose results nobody asks for are on their way while the next are prepared: most
    verbs wait for the server once or twice, not once per statement.
    """

    __slots__ = ("_connection", "_pipeline", "changed", "now", "topics")

    dialect = POSTGRESQL

    def __init__(self, connection: Connection, pipeline: psycopg.Pipeline, now: int) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self.now = now
        self.topics: set[str] = set()
        self.changed = False
        """Whether a statement may have changed something."""

    def execute(self, sql: str, arguments: Sequence[Any] = ()) -> PostgresCursor:
        """Run a statement."""
        text, changes = _in_words_of_driver(sql)
        self.changed = self.changed or changes
        return PostgresCursor(self._connection.execute(text, arguments, binary=True), self._pipeline)

    def executemany(self, sql: str, many: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each of many arguments."""
        if many:
            text, _ = _in_words_of_driver(sql)
            self.changed = True
            self._connection.cursor().executemany(text, many)

    def serialize(self, name: str) -> None:
        """Wait for other transactions that named the same."""
        self.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (name,))

    def try_serialize(self, name: str) -> bool:
        """Keep other transactions that name the same waiting, unless one of them came first."""
        sql = "SELECT pg_try_advisory_xact_lock(hashtextextended(?, 0))"
        row = self.execute(sql, (name,)).fetchone()
        return bool(row and row[0])
