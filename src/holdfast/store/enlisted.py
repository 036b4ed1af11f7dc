"""Jobs inserted in a transaction of the caller's own: on its connection, by SQLAlchemy.

What the caller commits or rolls back, it does with the job: an order and the job that serves it are
there together or not at all. Trouble of the caller's connection is raised as SQLAlchemy raises it, as
by any other statement of that transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from holdfast.clock import SystemClock
from holdfast.errors import (
    ConfigError,
    IdempotencyConflictError,
    SchemaVersionError,
    StoreUnavailableError,
)
from holdfast.store.base import Submitted
from holdfast.store.bounds import check_new_job
from holdfast.store.commits import before_commit
from holdfast.store.hints import QUEUED
from holdfast.store.jobs import insert_job, load_job
from holdfast.store.rows import micros
from holdfast.store.sealed_values import Sealer
from holdfast.store.transaction import POSTGRESQL, SQLITE
from holdfast.store.versions import HEAD, known_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Engine

    from holdfast.clock import Clock
    from holdfast.sealing import Keyring
    from holdfast.store.base import NewJob
    from holdfast.store.postgres_connection import Place
    from holdfast.store.transaction import Dialect

_SQLITE_PREFIX = "sqlite:///"
_DIALECTS: dict[str, Dialect] = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
_DRIVERS = ("aiosqlite", "asyncpg", "psycopg", "psycopg_async", "pysqlite")
_TABLES = frozenset({"alembic_version", "events", "jobs", "payloads"})
_NO_TRANSACTION = "25P01"
_LOCKED = "55P03"

LOCK_SECONDS = 5
"""How long a submission waits for a key that another transaction has taken but not committed.

That one may be of the same event loop, which does not go on while a `Session` waits."""

_READ_SETTINGS = "SELECT current_setting('lock_timeout'), current_setting('search_path')"
_WRITE_SETTINGS = "SELECT set_config('lock_timeout', ?, true), set_config('search_path', ?, true)"
_LOCK_TIMEOUT = """
SELECT CASE WHEN own::interval BETWEEN '1 ms' AND CAST(? AS text)::interval THEN own ELSE ? END
FROM current_setting('lock_timeout') AS setting(own)
"""
_PRESENT = "SELECT (extract(epoch from clock_timestamp()) * 1000000)::bigint"


@functools.lru_cache(maxsize=256)
def _in_words_of_driver(sql: str, paramstyle: str) -> str:
    if paramstyle == "qmark":
        return sql
    if paramstyle == "numeric_dollar":
        number = itertools.count(1)
        return re.sub(r"\?", lambda _: f"${next(number)}", sql)
    return sql.replace("%", "%%").replace("?", "%s")


class _Rows:
    """See `holdfast.store.transaction.Cursor`; all rows are here, no statement is left open."""

    def __init__(self, rows: list[tuple[Any, ...]], rowcount: int) -> None:
        self._rows = iter(rows)
        self.rowcount = rowcount

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows


class EnlistedTransaction:
    """See `holdfast.store.transaction.Transaction`; the transaction is the caller's to end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._paramstyle = connection.dialect.paramstyle
        self.dialect = _DIALECTS[connection.dialect.name]
        self.now = 0
        self.topics: set[str] = set()

    def execute(self, sql: str, arguments: Sequence[Any] = ()) -> _Rows:
        """Run a statement."""
        text = _in_words_of_driver(sql, self._paramstyle)
        result = self._connection.exec_driver_sql(text, tuple(arguments))
        rows = [tuple(row) for row in result] if result.returns_rows else []
        return _Rows(rows, result.rowcount)

    def executemany(self, sql: str, many: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each of many arguments."""
        for arguments in many:
            self.execute(sql, arguments)

    def serialize(self, name: str) -> None:
        """Wait for other transactions that named the same."""
        if self.dialect is POSTGRESQL:
            self.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (name,))

    def try_serialize(self, name: str) -> bool:
        """Keep other transactions that name the same waiting, unless one of them came first."""
        if self.dialect is SQLITE:
            return True
        sql = "SELECT pg_try_advisory_xact_lock(hashtextextended(?, 0))"
        return bool(self.execute(sql, (name,)).fetchone()[0])


class SqlEnlister:
    """`holdfast.store.base.Enlister` for SQLAlchemy's sessions and connections."""

    def __init__(self, url: str, keys: Keyring, clock: Clock | None = None) -> None:
        """Take what the store was opened with.

        Args:
            url: Of the store.
            keys: Seal the inputs, as those of all jobs of the store.
            clock: Where times come from; PostgreSQL's own clock is used instead of the machine's.

        Raises:
            ConfigError: The URL cannot be read, or the driver that reads it is not installed.
        """
        self._sqlite_path = (
            os.path.realpath(url.removeprefix(_SQLITE_PREFIX))
            if url.startswith(_SQLITE_PREFIX)
            else None
        )
        self._place = None if self._sqlite_path else _place_of(url)
        self._home: tuple[Any, ...] | None = None
        """What the store's own database says it is; PostgreSQL only."""
        self._sealer = Sealer(keys)
        self._clock = clock or SystemClock()
        self._checked: WeakSet[Engine] = WeakSet()

    async def insert_job(self, within: object, new: NewJob, committing: Callable[[], None]) -> Submitted:
        """See `holdfast.store.base.Enlister`."""
        if isinstance(within, async_scoped_session):
            within = within()
        if isinstance(within, AsyncSession):
            within = await within.connection()
        if isinstance(within, AsyncConnection):
            await within.run_sync(self._refuse_others)
            await self._find_home()
            return await within.run_sync(self.insert, new, committing)
        connection = _connection_of(within)
        self._refuse_others(connection)
        await self._find_home()
        return self.insert(connection, new, committing)

    def insert(
        self, within: object, new: NewJob, committing: Callable[[], None] | None = None
    ) -> Submitted:
        """Do the same for a session or connection that is not asynchronous, from any thread."""
        check_new_job(new)
        connection = _connection_of(within)
        self._refuse_others(connection)
        if connection.dialect.name == "sqlite":
            submitted = self._on_sqlite(connection, new)
        else:
            submitted = self._on_postgresql(connection, new)
        if committing is not None:
            before_commit(connection, committing)
        return submitted

    # the two databases -------------------------------------------------------------------------

    def _on_sqlite(self, connection: Connection, new: NewJob) -> Submitted:
        tx = EnlistedTransaction(connection)
        # Changes nothing, but makes the driver begin, and takes the one lock there is for writing.
        # No savepoint: where none was begun, releasing it would commit.
        self._check(connection, tx)
        tx.execute("UPDATE jobs SET id = id WHERE id < 0")
        driver = connection.connection.driver_connection
        if driver is None or not driver.in_transaction:
            raise _autocommits()
        tx.now = micros(self._clock.now())
        return self._insert(tx, new)

    def _on_postgresql(self, connection: Connection, new: NewJob) -> Submitted:
        for last_try in (False, True):
            try:
                return self._in_savepoint(connection, new)
            except IntegrityError as error:
                # Another transaction had the key, and has committed meanwhile.
                if last_try:
                    raise StoreUnavailableError(
                        f"key {new.idempotency_key!r} was taken by a transaction that this one, at its"
                        " isolation level, cannot see",
                        hint="roll back and run the whole transaction again",
                    ) from error
            except DBAPIError as error:
                if _sqlstate(error) != _LOCKED:
                    raise
                raise StoreUnavailableError(
                    f"key {new.idempotency_key!r} is held by another transaction that does not end",
                    hint="commit or roll back the one that submitted with this key, then submit again;"
                    " with a Session in an event loop, it may be one of the same loop",
                ) from error
        raise AssertionError  # pragma: no cover - the second try returns or raises

    def _in_savepoint(self, connection: Connection, new: NewJob) -> Submitted:
        try:
            savepoint = connection.begin_nested()
        except DBAPIError as error:
            if _sqlstate(error) == _NO_TRANSACTION:
                raise _autocommits() from None
            raise
        # Whatever goes wrong, the caller's transaction is as it was before, and can go on.
        with savepoint:
            tx = EnlistedTransaction(connection)
            with self._with_settings(tx):
                self._check(connection, tx)
                tx.now = self._present(tx)
                submitted = self._insert(tx, new)
                if QUEUED in tx.topics:
                    _notify(tx)
        return submitted

    def _present(self, tx: EnlistedTransaction) -> int:
        if not isinstance(self._clock, SystemClock):
            return micros(self._clock.now())
        present: int = tx.execute(_PRESENT).fetchone()[0]
        return present

    @contextlib.contextmanager
    def _with_settings(self, tx: EnlistedTransaction) -> Iterator[None]:
        """Wait for no lock for long, and look for tables where the store has them.

        A savepoint that is rolled back ends it, too.
        """
        before = tx.execute(_READ_SETTINGS).fetchone()
        longest = f"{LOCK_SECONDS}s"
        (lock_timeout,) = tx.execute(_LOCK_TIMEOUT, (longest, longest)).fetchone()
        search_path = None if self._place is None else self._place.search_path
        tx.execute(_WRITE_SETTINGS, (lock_timeout, search_path or before[1]))
        yield
        tx.execute(_WRITE_SETTINGS, before)

    # the job -----------------------------------------------------------------------------------

    def _insert(self, tx: EnlistedTransaction, new: NewJob) -> Submitted:
        sealed = replace(new, input=self._sealer.seal_json(new.input, "input", new.job_id))
        try:
            submitted = insert_job(tx, sealed)
        except IdempotencyConflictError as conflict:
            # Equal inputs of two jobs are sealed differently.
            found = self._sealer.open_job(load_job(tx, conflict.job_id))
            if (found.kind, found.input) != (new.kind, new.input):
                raise
            return Submitted(job=found, created=False)
        return replace(submitted, job=self._sealer.open_job(submitted.job))

    # checks ------------------------------------------------------------------------------------

    def _refuse_others(self, connection: Connection) -> None:
        ours = "sqlite" if self._sqlite_path else "postgresql"
        dialect = connection.dialect
        if dialect.name != ours:
            raise ConfigError(
                f"the store is in {ours}, and the transaction in {dialect.name}",
                hint="a job commits with other rows only where both are in one database",
            )
        if dialect.driver not in _DRIVERS:
            raise ConfigError(
                f"jobs cannot be submitted by SQLAlchemy's driver {dialect.driver!r}",
                hint="use psycopg or asyncpg for PostgreSQL, sqlite3 or aiosqlite for SQLite",
            )

    def _check(self, connection: Connection, tx: EnlistedTransaction) -> None:
        """Make sure, once for each engine, that this is the store's database.

        Raises:
            ConfigError: It is another one, or at another schema.
        """
        if connection.engine in self._checked:
            return
        if tx.dialect is SQLITE:
            self._check_file(tx)
            sql = "SELECT name FROM sqlite_master WHERE type = 'table'"
        else:
            names = ", ".join(f"('{name}')" for name in sorted(_TABLES))
            sql = f"SELECT name FROM (VALUES {names}) AS ours(name) WHERE to_regclass(name) IS NOT NULL"
        missing = _TABLES - {name for (name,) in tx.execute(sql)}
        if missing:
            raise ConfigError(
                f"the transaction's database has no tables of Holdfast ({', '.join(sorted(missing))})",
                hint="submit in a transaction of the database that HOLDFAST_STORE names,"
                " and run 'holdfast migrate' before the first one",
            )
        row = tx.execute("SELECT version_num FROM alembic_version").fetchone()
        found = "none" if row is None else known_version(str(row[0]))
        if found != HEAD:
            raise SchemaVersionError(found=found, needed=HEAD, newer=False)
        if tx.dialect is POSTGRESQL:
            self._check_home(tx)
        self._checked.add(connection.engine)

    async def _find_home(self) -> None:
        """Ask the store's database what it is, before the event loop would have to wait for it."""
        if self._place is not None and self._home is None:
            self._home = await asyncio.to_thread(_identity_of, self._place)

    def _check_home(self, tx: EnlistedTransaction) -> None:
        found = tx.execute(_identity_sql()).fetchone()
        if self._place is None or found == self._home:
            return
        # Asked again: the server may have been started anew meanwhile.
        self._home = _identity_of(self._place)
        if found != self._home:
            raise ConfigError(
                f"the transaction is on database {found[0]!r} with tables of another Holdfast than"
                f" the store's, PostgreSQL at {self._place}",
                hint="submit in a transaction of the database that HOLDFAST_STORE names",
            )

    def _check_file(self, tx: EnlistedTransaction) -> None:
        files = {name: path for _, name, path in tx.execute("PRAGMA database_list")}
        if os.path.realpath(files.get("main") or "") != self._sqlite_path:
            raise ConfigError(
                f"the transaction is on file {files.get('main') or ':memory:'!r},"
                f" and the store in {self._sqlite_path!r}",
                hint="open the same file with both",
            )


def _connection_of(within: object) -> Connection:
    if isinstance(within, scoped_session):
        within = within()
    if isinstance(within, Session):
        within = within.connection()
    if not isinstance(within, Connection):
        raise ConfigError(
            f"a {type(within).__name__} is no transaction that a job can be submitted in",
            hint="give SQLAlchemy's Session, Connection, AsyncSession or AsyncConnection",
        )
    return within


def _place_of(url: str) -> Place:
    try:
        from holdfast.store.postgres_connection import Place
    except ImportError as error:
        raise ConfigError(
            "the driver for PostgreSQL is not installed", hint="install 'holdfast[postgres]'"
        ) from error
    return Place(url)


def _identity_of(place: Place) -> tuple[Any, ...]:
    from holdfast.store.postgres_connection import ask_identity

    return ask_identity(place)


def _identity_sql() -> str:
    from holdfast.store.postgres_connection import IDENTITY_SQL

    return IDENTITY_SQL


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _notify(tx: EnlistedTransaction) -> None:
    """Have PostgreSQL tell all processes at commit: nobody else would know of it."""
    from holdfast.store.postgres_hints import CHANNEL, payloads

    for payload in payloads("enlisted tell", (QUEUED,)):
        tx.execute("SELECT pg_notify(?, ?)", (CHANNEL, payload))


def _autocommits() -> ConfigError:
    return ConfigError(
        "the connection commits each statement by itself, so there is no transaction to submit in",
        hint="use an isolation level other than AUTOCOMMIT",
    )
