"""The schema's version: known by plain SQL, so that Alembic loads only where there is work."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from holdfast.errors import SchemaVersionError, StoreCorruptError
from holdfast.store.connection import PAGE_BYTES, patiently

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from alembic.config import Config

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
"""Revisions this release knows, oldest first."""

HEAD = REVISIONS[-1]

NO_SCHEMA = "none"
"""Version of a new, empty file."""


class NewIndex(NamedTuple):
    """An index of columns that are there before the migration, so that it can be built ahead."""

    name: str
    table: str
    columns: tuple[str, ...]
    """Their names, each with `DESC` behind it where it is to be sorted so."""
    condition: str | None = None


def read_version(connection: sqlite3.Connection, path: str) -> str:
    """Return the revision of the database, or `NO_SCHEMA`.

    Raises:
        SchemaVersionError: A newer release wrote it.
        StoreCorruptError: The file holds another application's tables.
    """
    tables = {
        name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    if not tables:
        return NO_SCHEMA
    if not {"alembic_version", "jobs"} <= tables:
        raise StoreCorruptError(
            f"file {path!r} is a database of another application",
            hint="give Holdfast a file of its own",
        )
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        raise StoreCorruptError(
            f"database {path!r} has tables but no version", hint="restore the file from a backup"
        )
    return known_version(str(row[0]))


def known_version(found: str) -> str:
    """Return the revision if this release knows it.

    Raises:
        SchemaVersionError: A newer release wrote it.
    """
    if found not in REVISIONS:
        raise SchemaVersionError(found=found, needed=HEAD, newer=True)
    return found


def prepare(connection: sqlite3.Connection, path: str, *, busy_seconds: float) -> None:
    """Make the database ready for this release: WAL, and migrated to `HEAD`.

    Any number of processes may do so at once: one migrates, the others wait.

    Raises:
        SchemaVersionError: A newer release wrote it; nothing was touched.
        StoreCorruptError: The file holds another application's tables; nothing was touched.
    """
    found = patiently(lambda: read_version(connection, path), busy_seconds)
    # The page size counts only for a file that is still empty.
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"), busy_seconds)
    if found != HEAD:
        _migrate(connection, path, busy_seconds)


_alembic = threading.Lock()
"""Alembic keeps its context in module globals; two files may be migrated in one process."""


def _migrate(connection: sqlite3.Connection, path: str, busy_seconds: float) -> None:
    """Run the migrations in one transaction, unless another process has done so meanwhile."""

    def lock() -> str:
        # Only now: as it connects, SQLAlchemy rolls back, which would let go of the lock.
        patiently(lambda: connection.execute("BEGIN IMMEDIATE"), busy_seconds)
        return read_version(connection, path)

    upgrade("sqlite://", connection, lock)


def revisions_after(found: str) -> tuple[str, ...]:
    """Return the revisions between the one that was found and `HEAD`, oldest first."""
    return REVISIONS[REVISIONS.index(found) + 1 :]


def indexes_of(revision: str) -> Sequence[NewIndex]:
    """Return the indexes of a revision that can be built ahead of it."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config()).get_revision(revision)
    return () if script is None else getattr(script.module, "INDEXES", ())


def create_indexes(indexes: Sequence[NewIndex]) -> None:
    """Create a revision's indexes within it, unless they have been built ahead."""
    from alembic import context, op
    from sqlalchemy import text

    if context.config.attributes["indexed"]:
        return
    for index in indexes:
        where = None if index.condition is None else text(index.condition)
        # As text, for a column may be followed by its order.
        columns = [text(column) for column in index.columns]
        op.create_index(index.name, index.table, columns, sqlite_where=where, postgresql_where=where)


def upgrade(
    url: str, connection: object, lock: Callable[[], str], *, to: str = HEAD, indexed: bool = False
) -> None:
    """Bring the database forward in one transaction on the driver's own connection.

    Args:
        url: Names the database and its driver, as SQLAlchemy does.
        connection: The driver's.
        lock: Keeps every other process from migrating until the transaction ends, and returns the
            revision that it finds then.
        to: The revision to arrive at.
        indexed: Whether the revisions' `indexes_of` have been built ahead.
    """
    # Imported here: together they take longer to load than everything else.
    from alembic import command
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    engine = create_engine(url, creator=lambda: connection, poolclass=StaticPool)
    # SQLAlchemy's own transaction ends SQLite's; without it Alembic would commit each statement.
    with _alembic, engine.connect() as session, session.begin():
        if lock() != to:
            config = _config()
            config.attributes["connection"] = session
            config.attributes["indexed"] = indexed
            command.upgrade(config, to)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "holdfast.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
