"""What the global options chose, for the commands."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from holdfast.errors import ConfigError
from holdfast.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractContextManager

    import typer

    from holdfast.engine.client import JobClient
    from holdfast.jobs import Jobs
    from holdfast.settings import Settings
    from holdfast.store.service import ServiceStore
    from holdfast.wiring import App

LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One call of the command line."""

    debug: bool = False
    """Whether tracebacks are wanted."""
    command: str = "this command"
    """As it was typed, without its options."""

    @property
    def settings(self) -> Settings:
        """The environment with the global options over it.

        Raises:
            ConfigError: A value cannot be used.
        """
        return load_settings()

    def start_logging(self, *, level_default: LogLevel = "warning") -> None:
        """Send logs to stderr, from `level_default` on unless the settings ask for another level."""
        from holdfast.telemetry import configure_logging

        settings = self.settings
        level = settings.log_level
        configure_logging(level_default if level == "warning" else level, settings.log_format)

    def tracing(self) -> AbstractContextManager[None]:
        """Send traces of the block to a collector, if the settings name one.

        Raises:
            ConfigError: The extra `holdfast[tracing]` is missing, or the protocol is another one.
        """
        from holdfast.telemetry.export import tracing

        return tracing(self.settings)

    def application(self) -> App:
        """Return the application with its job kinds.

        Raises:
            ConfigError: It cannot be imported, settings cannot be used, or they name a service.
        """
        from holdfast.wiring import load_app

        self.need_store()
        settings = self.settings
        self.start_logging()
        if settings.app and str(Path.cwd()) not in sys.path:
            # An installed command does not look for modules where it was started; people expect it to.
            sys.path.insert(0, str(Path.cwd()))
        return load_app(settings)

    @property
    def place(self) -> str:
        """Where the jobs are, for people.

        Raises:
            ConfigError: The service's URL cannot be used.
        """
        settings = self.settings
        if not settings.url:
            return settings.store_shown
        from holdfast.remote.address import Address

        return str(Address(settings.url))

    def need_store(self) -> None:
        """Refuse to go on where settings name a service: it does not offer what is needed.

        Raises:
            ConfigError: They do.
        """
        if self.settings.url:
            raise ConfigError(
                f"'{self.command}' works on the store itself, and HOLDFAST_URL or --url names a service",
                hint="run it where the store is, with HOLDFAST_URL unset or with --store",
            )

    @contextlib.asynccontextmanager
    async def jobs(self, *, with_kinds: bool = False) -> AsyncIterator[Jobs]:
        """Give the jobs of the service that settings name, or those of the store.

        Args:
            with_kinds: Whether job kinds are needed; a service has its own.

        Raises:
            ConfigError, StoreError: The store or the service cannot be used.
        """
        if self.settings.url:
            from holdfast.remote import Client

            self.start_logging()
            async with Client() as client:
                yield client
        elif with_kinds:
            async with self.application().client() as opened:
                yield opened
        else:
            async with self.store_client() as opened:
                yield opened

    @contextlib.asynccontextmanager
    async def store_client(self) -> AsyncIterator[JobClient]:
        """Give a client of the store that knows no job kinds.

        Raises:
            ConfigError, StoreError: The store cannot be used, or settings name a service.
        """
        from holdfast.wiring import App

        self.need_store()
        self.start_logging()
        async with App(self.settings).client() as client:
            yield client

    @contextlib.asynccontextmanager
    async def records(self) -> AsyncIterator[ServiceStore]:
        """Give what the HTTP service keeps beside jobs: keys and webhooks.

        Raises:
            ConfigError, StoreError: The store cannot be used, or settings name a service.
        """
        from holdfast.store import open_store

        self.need_store()
        settings = self.settings
        self.start_logging()
        from holdfast.wiring.opening import keyring_of, prepare_home

        keys = keyring_of(settings)
        if settings.uses_home:
            prepare_home(settings.home)
        store = await open_store(settings.store_url)
        try:
            yield store.service.sealed_by(keys)
        finally:
            await store.close()


def session_of(context: typer.Context) -> Session:
    """Return the session of a command's context."""
    found: Session = context.obj
    return replace(found, command=context.command_path)
