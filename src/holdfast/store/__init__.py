"""The store: the only truth. `base` is the seam; `open_store` picks the implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.clock import Clock
    from holdfast.store.sql_store import SqlStore
    from holdfast.store.sqlite_store import Synchronous

_SQLITE = "sqlite:///"
_POSTGRESQL = ("postgresql://", "postgres://")


async def open_store(
    url: str,
    clock: Clock | None = None,
    *,
    synchronous: Synchronous = "FULL",
    migrate: bool = False,
) -> SqlStore:
    """Open the store at `url`.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute/path.db` or
            `postgresql://user:password@host:port/database`.
        clock: Where times come from; PostgreSQL's own clock is used instead of the machine's.
        synchronous: See `SqliteStore`.
        migrate: Bring a PostgreSQL database of an older release forward; a SQLite file always is.

    Raises:
        ConfigError: The URL cannot be used, or the server refuses it.
        SchemaVersionError: Another release wrote the database.
        StoreError: The database cannot be opened; see `SqliteStore.open` and `PostgresStore.open`.
    """
    store: SqlStore
    # Imported here, so that the seam can be imported without any implementation.
    if url.startswith(_POSTGRESQL):
        try:
            from holdfast.store.postgres_store import PostgresStore
        except ImportError as error:
            raise ConfigError(
                "the driver for PostgreSQL is not installed", hint="install 'holdfast[postgres]'"
            ) from error
        store = PostgresStore(url, clock=clock, migrate=migrate)
    else:
        from holdfast.store.sqlite_store import SqliteStore

        store = SqliteStore(_file_of(url), clock=clock, synchronous=synchronous)
    await store.open()
    return store


def _file_of(url: str) -> str:
    path = url.removeprefix(_SQLITE)
    if path == url:
        # Only the scheme is shown: the rest may hold a password.
        scheme, colon, _ = url.partition(":")
        raise ConfigError(
            f"store url {f'with scheme {scheme!r}' if colon else 'without a scheme'} is not supported",
            hint="supported: sqlite:///relative.db, sqlite:////absolute/path.db and"
            " postgresql://user:password@host:port/database",
        )
    if not path or path == ":memory:":
        raise ConfigError(
            f"store url {url!r} names no file", hint="a store must survive its process: name a file"
        )
    return path
