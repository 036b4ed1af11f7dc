"""The composition root: settings and registrations become a running application."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import signal
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.artifacts.object_store import LocalArtifacts
from holdfast.clock import SystemClock
from holdfast.dispatch.local import LocalDispatcher
from holdfast.engine.attempt import Services
from holdfast.engine.client import JobClient
from holdfast.engine.registry import Registry
from holdfast.engine.worker import Worker
from holdfast.errors import ConfigError
from holdfast.settings import load_settings
from holdfast.store import open_store
from holdfast.telemetry import configure_logging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from pathlib import Path

    from holdfast.clock import Clock
    from holdfast.llm.client import LLM
    from holdfast.llm.providers.base import Provider
    from holdfast.llm.providers.scripted import Writer
    from holdfast.model import Budget, RetryPolicy
    from holdfast.settings import Settings
    from holdfast.store.base import Store

_GC_THRESHOLDS = (20_000, 20, 20)

JobFunction = TypeVar("JobFunction", bound="Callable[..., Awaitable[Any]]")
T = TypeVar("T")


class App:
    """An application: its job kinds, what it provides to them, and how to run it.

    The settings come from the environment unless given; nothing is opened before `client`,
    `worker` or `run`.
    """

    def __init__(self, settings: Settings | None = None, *, clock: Clock | None = None) -> None:
        self.registry = Registry()
        self._settings = settings
        self._clock = clock or SystemClock()
        self._resources: dict[type, object] = {}
        self.offline_writer: Writer | None = None
        """Answers model calls while no endpoint is set; sample sentences by default."""

    @property
    def settings(self) -> Settings:
        """The settings in force.

        Raises:
            ConfigError: The environment holds a value that cannot be used.
        """
        if self._settings is None:
            self._settings = load_settings()
        return self._settings

    def job(
        self,
        kind: str,
        *,
        queue: str | None = None,
        retry: RetryPolicy | None = None,
        step_retry: RetryPolicy | None = None,
        soft_limit: timedelta | None = None,
        hard_limit: timedelta | None = None,
        budget: Budget | None = None,
        priority: int = 0,
    ) -> Callable[[JobFunction], JobFunction]:
        """Register an `async def name(job: JobContext, input: Model) -> Result` under `kind`.

        Args:
            kind: Stable name; jobs in the store refer to it.
            queue: The line its jobs wait in; the kind's own by default.
            retry: For errors that the function itself raises; one attempt by default.
            step_retry: For its steps that name no policy.
            soft_limit: Time under a worker after which the next step raises `SoftLimitError`.
            hard_limit: Time under a worker after which the job fails.
            budget: Limit of each job; unlimited by default.
            priority: Higher is claimed first.

        Raises:
            DuplicateJobKindError: The kind is taken.
            ConfigError: The function does not have that shape.
        """

        def register(function: JobFunction) -> JobFunction:
            self.registry.add(
                kind,
                function,
                queue=queue,
                retry=retry,
                step_retry=step_retry,
                soft_limit=soft_limit,
                hard_limit=hard_limit,
                budget=budget,
                priority=priority,
            )
            return function

        return register

    def provide(self, instance: object, *, under: type | None = None) -> None:
        """Let job code ask for `instance` by `job.resource(type)`."""
        self._resources[under or type(instance)] = instance

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[JobClient]:
        """Open the store and give a client; jobs are run by workers elsewhere.

        Raises:
            ConfigError, StoreError: The store cannot be used.
        """
        async with self._open() as (client, _):
            yield client

    @contextlib.asynccontextmanager
    async def worker(
        self, *, queues: tuple[str, ...] | None = None, slots: int | None = None
    ) -> AsyncIterator[JobClient]:
        """Open the store, work on its jobs in this process, and give a client; drains on exit.

        Args:
            queues: The lines to serve; None for all.
            slots: Attempts at once; the setting by default.

        Raises:
            ConfigError, StoreError: The store cannot be used.
        """
        settings = self.settings
        async with (
            self._open() as (client, store),
            open_llm(settings, store, self._clock, self.offline_writer) as llm,
        ):
            worker = Worker(
                Services(
                    store=store,
                    artifacts=client.artifact_store,
                    clock=self._clock,
                    resources={type(llm): llm, **self._resources},
                ),
                self.registry,
                LocalDispatcher(store.hints),
                queues=queues,
                slots=slots or settings.slots,
                drain_grace=timedelta(seconds=settings.drain_grace_seconds),
                lease_seconds=settings.lease_seconds,
            )
            try:
                await worker.start()
                yield client
            finally:
                await worker.drain()

    def run(self, kind: str, value: Any = None, *, idempotency_key: str | None = None) -> Any:
        """Run one job to its end in this process and return its output; for scripts.

        With an idempotency key, running the script again goes on where it was, or returns the
        stored output.

        Raises:
            JobFailedError: The job failed.
            JobCancelledError: The job was cancelled.
            ConfigError: It is called where an event loop runs, or while a child process imports
                the script.
        """
        _refuse_in_loop()
        if not logging.getLogger("holdfast").hasHandlers():
            configure_logging(self.settings.log_level, self.settings.log_format)

        async def submit_and_wait() -> Any:
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGTERM, _interrupt, asyncio.current_task()
            )
            async with self.worker() as client:
                job = await client.submit(kind, value, idempotency_key=idempotency_key)
                return await client.result(job.job_id)

        return run_async(submit_and_wait())

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[JobClient, Store]]:
        _refuse_in_child()
        settings = self.settings
        if settings.uses_home:
            _prepare_home(settings.home)
        artifacts = LocalArtifacts(settings.artifacts_folder, self._clock)
        synchronous = settings.sqlite_synchronous
        store = await open_store(settings.store_url, self._clock, synchronous=synchronous)
        try:
            await artifacts.sweep()
            yield JobClient(store, self.registry, LocalDispatcher(store.hints), artifacts), store
        finally:
            await store.close()


def _refuse_in_loop() -> None:
    _refuse_in_child()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigError(
        "App.run was called while an event loop is running",
        hint="in async code write: async with app.worker() as client: …",
    )


def _refuse_in_child() -> None:
    """Refuse to run an application in a child that only wants to import one of its functions."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name == "holdfast.engine.child":
        raise ConfigError(
            "the script ran its main part while a child process imported it for an isolated step",
            hint="put what starts the application behind: if __name__ == '__main__':",
        )


def _interrupt(task: asyncio.Task[Any] | None) -> None:
    """End the program as Ctrl-C does: by draining."""
    if task is not None:
        task.cancel()


def _prepare_home(home: Path) -> None:
    """Create the home folder for this user's eyes only, and keep it out of version control."""
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


@contextlib.asynccontextmanager
async def open_llm(
    settings: Settings, store: Store, clock: Clock, offline_writer: Writer | None
) -> AsyncIterator[LLM]:
    """Give the model client that the settings describe, on the store's lanes and ledger.

    Raises:
        ConfigError: The settings name an endpoint that needs a key, and there is none.
    """
    # Imported here: a program that only asks for `--help` must not wait for price tables.
    from holdfast.llm.client import LLM
    from holdfast.llm.config import FREE, LLMConfig, ModelConfig
    from holdfast.llm.providers.scripted import Scripted

    if settings.uses_openai:
        provider: Provider = _openai_provider(settings, clock)
        model = ModelConfig(
            model=settings.model,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            timeout_seconds=settings.call_timeout_seconds,
        )
    else:
        provider = Scripted(offline_writer, clock=clock)
        model = ModelConfig(model="scripted", provider="scripted", price=FREE)
    llm = LLM(
        LLMConfig.single(model), {model.provider: provider}, lanes=store, ledger=store, clock=clock
    )
    try:
        yield llm
    finally:
        await llm.close()


def _openai_provider(settings: Settings, clock: Clock) -> Provider:
    # Imported here: the SDK alone takes half a second.
    from holdfast.llm.providers.openai import OpenAIProvider

    key = settings.openai_api_key
    if key is None and settings.openai_base_url is None:
        raise ConfigError(
            "model calls are to go to OpenAI, but there is no key",
            hint="set OPENAI_API_KEY, or OPENAI_BASE_URL, or HOLDFAST_PROVIDER=scripted",
        )
    # Endpoints without keys still want the header.
    secret = key.get_secret_value() if key else "none"
    if settings.openai_base_url is None:
        return OpenAIProvider(api_key=secret, clock=clock)
    return OpenAIProvider(api_key=secret, base_url=settings.openai_base_url, clock=clock)


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on the fastest event loop there is; for entry points.

    The process is tuned for many small live objects: collecting garbage as often as Python does
    by default would cost a busy worker a quarter of its time.
    """
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        # Not made for this platform; asyncio's own loop does the same more slowly.
        return None
    return uvloop.new_event_loop


def load_app(settings: Settings) -> App:
    """Return the application that the settings name, or the built-in one.

    Raises:
        ConfigError: `HOLDFAST_APP` cannot be imported or is not an `App`.
    """
    if not settings.app:
        return default_app(settings)
    module_name, _, attribute = settings.app.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute or "app", None)
    except ImportError as error:
        raise ConfigError(
            f"application {settings.app!r} cannot be imported: {error}",
            hint="give HOLDFAST_APP (or --app) as 'module:attribute', importable from here",
        ) from error
    if not isinstance(found, App):
        raise ConfigError(
            f"application {settings.app!r} is a {type(found).__name__}, not a holdfast.App",
            hint="give HOLDFAST_APP (or --app) as 'module:attribute'",
        )
    return found


def default_app(settings: Settings) -> App:
    """Return an application with the built-in products registered.

    Raises:
        ConfigError: The extra `holdfast[reports]` is not installed.
    """
    app = App(settings)
    try:
        from holdfast.apps.reports import register_reports, write_report_sample
    except ImportError as error:
        raise ConfigError(
            f"the reports application cannot be imported: {error}", hint="install 'holdfast[reports]'"
        ) from error
    register_reports(app.registry, work_dir=settings.home / "work")
    app.offline_writer = write_report_sample
    return app
