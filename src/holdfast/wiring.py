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
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, Unpack

from holdfast.artifacts import artifacts_of
from holdfast.artifacts.sealed import SealedBlobs
from holdfast.clock import SystemClock
from holdfast.dispatch.local import LocalDispatcher
from holdfast.engine.attempt import Services
from holdfast.engine.client import JobClient
from holdfast.engine.registry import Registry
from holdfast.engine.worker import Worker
from holdfast.errors import ConfigError
from holdfast.metrics import MetricsServer
from holdfast.sealing import load_keyring
from holdfast.settings import load_settings
from holdfast.store import open_store
from holdfast.store.sealed import open_sealed
from holdfast.telemetry import configure_logging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from pathlib import Path
    from types import ModuleType

    from holdfast.clock import Clock
    from holdfast.dispatch.base import Dispatcher, JobRunner
    from holdfast.dispatch.celery import CeleryApp
    from holdfast.engine.registry import KindOptions
    from holdfast.llm.client import LLM
    from holdfast.llm.providers.base import Provider
    from holdfast.llm.providers.scripted import Writer
    from holdfast.sealing import Keyring
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

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
        celery: CeleryApp | None = None,
    ) -> None:
        """Make an application without job kinds.

        Args:
            settings: Instead of those of the environment.
            clock: Instead of the machine's.
            celery: An existing Celery application to announce jobs by; its own tasks stay as they are.
        """
        self.registry = Registry()
        self._settings = settings
        self._celery = None if celery is None else self._install(celery)
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

    def job(self, kind: str, **options: Unpack[KindOptions]) -> Callable[[JobFunction], JobFunction]:
        """Register an `async def name(job: JobContext, input: Model) -> Result` under `kind`.

        Args:
            kind: Stable name; jobs in the store refer to it.
            **options: `queue`, the line its jobs wait in, the kind's own by default; `retry` for
                errors that the function itself raises, one attempt by default; `step_retry` for its
                steps that name no policy; `soft_limit`, time under a worker after which the next step
                raises `SoftLimitError`; `hard_limit`, after which the job fails; `budget` of each job;
                `priority`, higher is claimed first; `concurrency`, how many of its jobs may run at
                once in the whole fleet; `keep`, how long after its end a job is deleted.

        Raises:
            DuplicateJobKindError: The kind is taken.
            ConfigError: The function does not have that shape.
        """

        def register(function: JobFunction) -> JobFunction:
            self.registry.add(kind, function, **options)
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
        async with self._open() as opened:
            yield opened.client

    @contextlib.asynccontextmanager
    async def worker(
        self, *, queues: tuple[str, ...] | None = None, concurrency: int | None = None
    ) -> AsyncIterator[JobClient]:
        """Open the store, work on its jobs in this process, and give a client; drains on exit.

        Args:
            queues: The lines to serve; None for all.
            concurrency: Jobs at once; the setting by default.

        Raises:
            ConfigError, StoreError: The store cannot be used.
        """
        async with self._working(queues, concurrency, offered=False) as (client, _):
            yield client

    def broker(self) -> CeleryApp | None:
        """Return the Celery application that jobs are announced by; None without a broker.

        Raises:
            ConfigError: The broker's URL cannot be used, or the extra `holdfast[celery]` is missing.
        """
        if self._celery is None and self.settings.broker is not None:
            from_url = _celery_dispatch().celery_app
            prefix = self.settings.queue_prefix
            queues = sorted({self.registry.get(name).queue for name in self.registry.names})
            url = self.settings.broker.get_secret_value()
            self._celery = self._install(from_url(url, queues=queues, prefix=prefix))
        return self._celery

    def serve(
        self,
        slots: int,
        queues: tuple[str, ...] | None,
        use: Callable[[JobRunner], Awaitable[None]],
    ) -> None:
        """Run a worker for a broker's messages in the calling thread while `use` goes on with it.

        Raises:
            ConfigError, StoreError: The store cannot be used.
        """

        async def main() -> None:
            async with self._working(queues, slots, offered=True) as (_, worker):
                await use(worker)

        run_async(main())

    def _install(self, celery: CeleryApp) -> CeleryApp:
        install = _celery_dispatch().install
        return install(celery, serve=self.serve, prefix=self.settings.queue_prefix)

    @contextlib.asynccontextmanager
    async def _working(
        self, queues: tuple[str, ...] | None, slots: int | None, *, offered: bool
    ) -> AsyncIterator[tuple[JobClient, Worker]]:
        settings = self.settings
        async with (
            self._open() as (client, store, dispatcher),
            open_llm(settings, store, self._clock, self.offline_writer) as llm,
        ):
            await client.artifact_store.check()
            await client.artifact_store.sweep()
            if settings.keep_days is not None:
                self.registry.keep = timedelta(days=settings.keep_days)
            worker = Worker(
                Services(
                    store=store,
                    artifacts=client.artifact_store,
                    clock=self._clock,
                    resources={type(llm): llm, **self._resources},
                    blobs=SealedBlobs(client.artifact_store, keyring_of(settings)),
                ),
                self.registry,
                dispatcher,
                queues=queues,
                slots=slots or settings.concurrency,
                drain_grace=timedelta(seconds=settings.drain_grace_seconds),
                lease_seconds=settings.lease_seconds,
                offered=offered,
            )
            async with _measured(settings, worker):
                try:
                    await worker.start()
                    yield client, worker
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
    async def _open(self) -> AsyncIterator[_Opened]:
        _refuse_in_child()
        settings = self.settings
        if settings.uses_home:
            _prepare_home(settings.home)
        artifacts = artifacts_of(settings, self._clock)
        synchronous = settings.sqlite_synchronous
        keys = keyring_of(settings)
        opened = await open_store(settings.store_url, self._clock, synchronous=synchronous)
        try:
            store = await open_sealed(opened, keys)
            async with _open_dispatcher(self.broker(), store) as dispatcher:
                client = JobClient(store, self.registry, dispatcher, artifacts)
                yield _Opened(client, store, dispatcher)
        finally:
            await opened.close()


class _Opened(NamedTuple):
    client: JobClient
    store: Store
    dispatcher: Dispatcher


def _celery_dispatch() -> ModuleType:
    try:
        from holdfast.dispatch import celery
    except ImportError as error:
        raise ConfigError(
            f"a broker is set, but Celery cannot be imported: {error}", hint="install 'holdfast[celery]'"
        ) from error
    return celery


@contextlib.asynccontextmanager
async def _open_dispatcher(celery: CeleryApp | None, store: Store) -> AsyncIterator[Dispatcher]:
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
async def _measured(settings: Settings, worker: Worker) -> AsyncIterator[None]:
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
