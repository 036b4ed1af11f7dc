"""The schema of a PostgreSQL database: made in an empty one, brought forward under a running fleet."""

from __future__ import annotations

import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors

from holdfast.errors import SchemaVersionError, StoreCorruptError, StoreUnavailableError
from holdfast.ids import jitter
from holdfast.store.postgres_connection import connect
from holdfast.store.versions import (
    HEAD,
    NO_SCHEMA,
    NewIndex,
    indexes_of,
    known_version,
    revisions_after,
    upgrade,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.store.postgres_connection import Connection, Place

logger = logging.getLogger(__name__)

_DRIVER = "postgresql+psycopg://"

_MIGRATION_LOCK = 0x484F4C44
"""Key of the advisory lock that one migrating process holds; any fixed number does."""

LOCK_SECONDS = 2
"""How long a change of a table waits for it; whoever comes after it waits no longer, either."""

TRIES = 10
PAUSE_SECONDS = 1.0
"""Between two tries, when those that waited behind the first go on."""

_POLL_SECONDS = 0.1

_IN_THE_WAY = (errors.LockNotAvailable, errors.DeadlockDetected)


def read_version(connection: Connection, place: Place) -> str:
    """Return the revision of the database, or `NO_SCHEMA`.

    Raises:
        SchemaVersionError: A newer release wrote it.
        StoreCorruptError: It holds another application's tables.
    """
    row = connection.execute(
        "SELECT to_regclass('alembic_version') IS NOT NULL, to_regclass('jobs') IS NOT NULL,"
        " to_regclass('checkpoints') IS NOT NULL"
    ).fetchone()
    if row == (False, False, False):
        return NO_SCHEMA
    if row != (True, True, True):
        raise StoreCorruptError(
            f"the database of PostgreSQL at {place} holds tables of another application",
            hint="give Holdfast a database of its own, or a schema by ?options=-csearch_path%3Dname",
        )
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if found is None:
        raise StoreCorruptError(
            f"the database of PostgreSQL at {place} has tables but no version",
            hint="restore it from a backup",
        )
    return known_version(str(found[0]))


def prepare(connection: Connection, place: Place, *, migrate: bool) -> str:
    """Make sure that the database is at `HEAD`; an empty one is brought there.

    Any number of processes may do so at once: one migrates, the others wait. Migrating an older
    schema takes no lock for long, and what was interrupted goes on with the next call.

    Args:
        connection: Not in a transaction.
        place: Where it leads to.
        migrate: Bring an older schema forward, too; else it is refused, so that the first worker
            of a new release does not change the tables under the others by itself.

    Returns:
        The revision that was found.

    Raises:
        SchemaVersionError, StoreCorruptError: See `read_version`; or it is at an older schema.
        StoreUnavailableError: Other transactions kept a table locked.
    """
    found = read_version(connection, place)
    if found == NO_SCHEMA:
        _create(connection, place)
    elif found != HEAD:
        if not migrate:
            raise SchemaVersionError(found=found, needed=HEAD, newer=False)
        with _only_migrator(place):
            for revision in revisions_after(read_version(connection, place)):
                for index in indexes_of(revision):
                    _insist(partial(_build, connection, index), place)
                _insist(partial(_step, connection, place, revision), place)
    return found


def _create(connection: Connection, place: Place) -> None:
    """Make the tables in one transaction: nobody uses them yet."""

    def lock() -> str:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        return read_version(connection, place)

    with _in_transaction(connection):
        upgrade(_DRIVER, connection, lock)


@contextlib.contextmanager
def _only_migrator(place: Place) -> Iterator[None]:
    """Wait until no other process migrates, and keep the others waiting.

    The lock belongs to a transaction, as poolers demand, of a connection of its own, for indexes
    are built outside of transactions. It is asked for again and again: a statement that waits
    for it would have a snapshot, and the build would wait for that.
    """
    with contextlib.closing(connect(place)) as guard:
        guard.autocommit = False
        # A repeatable read would keep its snapshot.
        guard.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        while True:
            guard.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            # Without parameters, which would leave a portal open, and with it the snapshot.
            row = guard.execute(f"SELECT pg_try_advisory_xact_lock({_MIGRATION_LOCK})").fetchone()
            if row == (True,):
                break
            guard.rollback()
            time.sleep(_POLL_SECONDS)
        yield


def _build(connection: Connection, index: NewIndex) -> None:
    """Build an index while its table is written to; one whose build was interrupted is built anew."""
    row = connection.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (index.name,)
    ).fetchone()
    if row == (False,):
        connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
    if row != (True,):
        where = "" if index.condition is None else f" WHERE {index.condition}"
        connection.execute(
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index.name}"
            f" ON {index.table} ({', '.join(index.columns)}){where}"
        )


def _step(connection: Connection, place: Place, revision: str) -> None:
    """Run the rest of one migration in a transaction that waits for no lock for long."""

    def lock() -> str:
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        return read_version(connection, place)

    with _in_transaction(connection):
        upgrade(_DRIVER, connection, lock, to=revision, indexed=True)


@contextlib.contextmanager
def _in_transaction(connection: Connection) -> Iterator[None]:
    """Let SQLAlchemy begin and end transactions, and raise the driver's errors."""
    from sqlalchemy.exc import DBAPIError

    connection.autocommit = False
    try:
        yield
    except DBAPIError as error:
        raise (error.orig or error) from None
    finally:
        if not connection.closed:
            connection.rollback()
            connection.autocommit = True


def _insist(change: Callable[[], None], place: Place) -> None:
    """Make a change, again after a pause if other transactions were in its way."""
    for tries_left in reversed(range(TRIES)):
        try:
            change()
        except _IN_THE_WAY as error:
            if not tries_left:
                raise StoreUnavailableError(
                    f"tables of PostgreSQL at {place} stayed locked while they were migrated",
                    hint="look for long transactions in pg_stat_activity, then run 'holdfast migrate'"
                    " again; what is done already is kept",
                ) from error
        else:
            return
        logger.info("other transactions are in the migration's way", extra={"tries_left": tries_left})
        time.sleep(PAUSE_SECONDS * (0.5 + jitter()))
