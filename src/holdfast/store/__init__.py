"""The store: the only truth. `base` is the seam; `open_store` picks the implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.clock import Clock
    from holdfast.store.sqlite_store import SqliteStore, Synchronous

_SQLITE = "sqlite:///"


async def open_store(
    url: str, clock: Clock | None = None, *, synchronous: Synchronous = "FULL"
) -> SqliteStore:
    """Open the store at `url`: `sqlite:///relative.db` or `sqlite:////absolute/path.db`.

    Raises:
        ConfigError: The URL's scheme is unknown, or it names no file.
        StoreError: The database cannot be opened; see `SqliteStore.open`.
    """
    # Imported here, so that the seam can be imported without any implementation.
    from holdfast.store.sqlite_store import SqliteStore

    path = url.removeprefix(_SQLITE)
    if path == url:
        # Only the scheme is shown: the rest may hold a password.
        raise ConfigError(
            f"store url with scheme {url.partition(':')[0]!r} is not supported",
            hint="supported: sqlite:///relative.db and sqlite:////absolute/path.db",
        )
    if not path or path == ":memory:":
        raise ConfigError(
            f"store url {url!r} names no file", hint="a store must survive its process: name a file"
        )
    store = SqliteStore(path, clock=clock, synchronous=synchronous)
    await store.open()
    return store
