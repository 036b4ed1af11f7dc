"""Settings become what an application works with: store, dispatcher, artifacts, keys."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, NamedTuple

from holdfast.dispatch.local import LocalDispatcher
from holdfast.errors import ConfigError
from holdfast.metrics import MetricsServer
from holdfast.sealing import load_keyring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import ModuleType

    from holdfast.clock import Clock
    from holdfast.dispatch.base import Dispatcher
    from holdfast.dispatch.celery import CeleryApp
    from holdfast.engine.client import JobClient
    from holdfast.engine.worker import Worker
    from holdfast.sealing import Keyring
    from holdfast.settings import Settings
    from holdfast.store.base import Store
    from holdfast.store.enlisted import SqlEnlister
    from holdfast.store.orders import OrderStore
    from holdfast.store.service import ServiceStore


class Opened(NamedTuple):
    """What is open while an application runs."""

    client: JobClient
    store: Store
    dispatcher: Dispatcher
    service: ServiceStore
    orders: OrderStore


def celery_dispatch() -> ModuleType:
    """Return the module that knows Celery.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        from holdfast.dispatch import celery
    except ImportError as error:
        raise ConfigError(
            f"a broker is set, but Celery cannot be imported: {error}", hint="install 'holdfast[celery]'"
        ) from error
    return celery


@contextlib.asynccontextmanager
async def open_dispatcher(celery: CeleryApp | None, store: Store) -> AsyncIterator[Dispatcher]:
    """Give what announces jobs: to this process, and to all others where there is a broker."""
    if celery is None:
        yield LocalDispatcher(store.hints)
        return
    from holdfast.dispatch.celery_publisher import CeleryDispatcher

    publisher = CeleryDispatcher(celery)
    try:
        yield LocalDispatcher(store.hints, beyond=publisher)
    finally:
        await publisher.close()


@contextlib.asynccontextmanager
async def measured(settings: Settings, worker: Worker) -> AsyncIterator[None]:
    """Serve metrics and health while the worker lives, if they are wanted."""
    if settings.metrics_port is None:
        yield
        return
    server = MetricsServer(settings.metrics_port, worker.troubles)
    try:
        yield
    finally:
        await asyncio.to_thread(server.close)


def keyring_of(settings: Settings) -> Keyring:
    """Return the sealing keys that are set.

    Raises:
        ConfigError: They have another form, or `cryptography` is not installed.
    """
    secret = settings.sealing_keys
    return load_keyring("" if secret is None else secret.get_secret_value())


def enlister_of(settings: Settings, clock: Clock) -> SqlEnlister:
    """Return what submits jobs in transactions of others on the store's database.

    Raises:
        ConfigError: The store's URL or the sealing keys cannot be used.
    """
    # Imported here: SQLAlchemy takes longer to load than everything else.
    from holdfast.store.enlisted import SqlEnlister

    return SqlEnlister(settings.store_url, keyring_of(settings), clock)


def prepare_home(home: Path) -> None:
    """Create the home folder for this user's eyes only, and keep it out of version control.

    Raises:
        ConfigError: It cannot be made.
    """
    if home.exists():
        return
    try:
        home.mkdir(mode=0o700, parents=True)
        (home / ".gitignore").write_text("*\n")
    except OSError as error:
        raise ConfigError(
            f"home folder {str(home)!r} cannot be created: {error.strerror}",
            hint="set HOLDFAST_HOME to a folder this user can write to",
        ) from error
