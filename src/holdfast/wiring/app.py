"""An application: its job kinds, what they need, and the ways to run it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from holdfast.artifacts import artifacts_of
from holdfast.artifacts.sealed import SealedBlobs
from holdfast.clock import SystemClock
from holdfast.engine.attempt import Services
from holdfast.engine.client import JobClient
from holdfast.engine.registry import Registry
from holdfast.engine.submission import new_job
from holdfast.engine.worker import Worker
from holdfast.settings import load_settings
from holdfast.store import open_store
from holdfast.store.sealed import open_sealed
from holdfast.telemetry import configure_logging
from holdfast.wiring.deliveries import open_courier, register_own_kinds
from holdfast.wiring.extension import extended
from holdfast.wiring.llm import open_llm
from holdfast.wiring.opening import (
    Opened,
    celery_dispatch,
    enlister_of,
    keyring_of,
    measured,
    open_dispatcher,
    prepare_home,
)
from holdfast.wiring.running import refuse_in_child, refuse_in_loop, run_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from fastapi import APIRouter, FastAPI

    from holdfast.clock import Clock
    from holdfast.dispatch.base import JobRunner
    from holdfast.dispatch.celery import CeleryApp
    from holdfast.engine.registry import KindOptions
    from holdfast.jobs import SubmitOptions
    from holdfast.llm.providers.scripted import Writer
    from holdfast.model import Job
    from holdfast.server.service import Service
    from holdfast.settings import Settings
    from holdfast.store.enlisted import SqlEnlister
    from holdfast.wiring.extension import Extension

JobFunction = TypeVar("JobFunction", bound="Callable[..., Awaitable[Any]]")


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
        register_own_kinds(self.registry)
        self._settings = settings
        self._celery = None if celery is None else self._install(celery)
        self._clock = clock or SystemClock()
        self._resources: dict[type, object] = {}
        self._enlister: SqlEnlister | None = None
        self.offline_writer: Writer | None = None
        """Answers model calls while no endpoint is set; sample sentences by default."""
        self.models: tuple[str, ...] = ()
        """Models that jobs ask for by name, beside the default one; of the same account and limits."""
        self.extensions: list[Extension] = []
        """What it brings beside job kinds."""

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
    async def resources(self) -> AsyncIterator[Mapping[type, object]]:
        """Open the store and give what the application's extensions bring, for tools of operators.

        Raises:
            ConfigError, StoreError: The store or an extension cannot be used.
        """
        async with self._open() as opened, self._extended(opened) as found:
            yield found

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
        async with self._working(queues, concurrency, offered=False) as (opened, _):
            yield opened.client

    def submit(
        self,
        kind: str,
        value: Any = None,
        *,
        within: object,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Job:
        """Submit a job in a transaction of the caller's own, where no event loop is needed.

        Nothing is opened: the job is written by the caller's connection. With a client open, use
        `JobClient.submit(…, within=…)`, which has a broker told at once, too.

        Args:
            kind: A registered kind.
            value: Its input, fitting the kind's declared type.
            within: A `Session` or `Connection` of SQLAlchemy's to the store's own database; the job is
                accepted once its transaction is committed, and only then.
            idempotency_key: The same key with the same input gives the same job.
            **options: See `holdfast.jobs.SubmitOptions`.

        Raises:
            UnknownJobKindError, InvalidInputError, IdempotencyConflictError: See `JobClient.submit`.
            ConfigError: `within` is no such session or connection.
        """
        new = new_job(self.registry, kind, value, idempotency_key, options)
        return self._enlisting().insert(within, new).job

    def api(self, *, with_worker: bool | None = None, open_access: bool = False) -> FastAPI:
        """Return the HTTP service as an ASGI application; it opens everything when it is started.

        Args:
            with_worker: Run jobs in the same process, too; by default where there is no broker.
            open_access: Let requests of this machine in without a key, as `holdfast serve` does on
                loopback. Only for a server that nobody else reaches, not by a proxy either.

        Raises:
            ConfigError: Settings cannot be used, or the extra `holdfast[server]` is missing.
        """
        from holdfast.wiring.serving import api_of

        def open_service() -> AbstractAsyncContextManager[Service]:
            return self.service(with_worker=with_worker, open_access=open_access)

        routers = self._routers()
        return api_of(self.settings, open_service, open_access=open_access, routers=routers)

    def router(self, *, with_worker: bool | None = None, open_access: bool = False) -> APIRouter:
        """Return all routes of the HTTP service, to be included in another FastAPI application.

        Everything is opened when that application is started, and closed with it. Limits on bodies and
        requests hold for these routes alone; its own middleware, handlers and access stay as they are.

        Args:
            with_worker: Run jobs in the same process, too; by default where there is no broker.
            open_access: Let requests for a loopback host in without a key. Which addresses the
                application listens on is not known here, and a request can claim any host: only for
                one that nobody else reaches.

        Raises:
            ConfigError: Settings cannot be used, or the extra `holdfast[server]` is missing.
        """
        from holdfast.wiring.serving import router_of

        def open_service() -> AbstractAsyncContextManager[Service]:
            return self.service(with_worker=with_worker, open_access=open_access)

        routers = self._routers()
        return router_of(self.settings, open_service, open_access=open_access, routers=routers)

    @contextlib.asynccontextmanager
    async def service(
        self, *, with_worker: bool | None = None, open_access: bool = False
    ) -> AsyncIterator[Service]:
        """Open what the HTTP service works with; see `api` and `router`.

        Raises:
            ConfigError, StoreError: The store cannot be used.
        """
        if with_worker is None:
            with_worker = self.broker() is None
        async with contextlib.AsyncExitStack() as stack:
            worker: Worker | None = None
            if with_worker:
                working = self._working(None, None, offered=False)
                opened, worker = await stack.enter_async_context(working)
            else:
                opened = await stack.enter_async_context(self._open())
            from holdfast.wiring.secrets import secrets_of
            from holdfast.wiring.serving import claiming_until_close, options_of, service_of

            service = service_of(
                opened,
                self.registry,
                options_of(self.settings, open_access=open_access),
                secrets_of(self.settings),
                self._clock,
                broker=self.broker(),
                worker=worker,
                resources=await stack.enter_async_context(self._extended(opened)),
            )
            if worker is not None:
                await stack.enter_async_context(claiming_until_close(worker, service.closing))
            yield service

    def broker(self) -> CeleryApp | None:
        """Return the Celery application that jobs are announced by; None without a broker.

        Raises:
            ConfigError: The broker's URL cannot be used, or the extra `holdfast[celery]` is missing.
        """
        if self._celery is None and self.settings.broker is not None:
            from_url = celery_dispatch().celery_app
            prefix = self.settings.queue_prefix
            queues = self.registry.queues
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
        install = celery_dispatch().install
        return install(celery, serve=self.serve, prefix=self.settings.queue_prefix)

    @contextlib.asynccontextmanager
    async def _working(
        self, queues: tuple[str, ...] | None, slots: int | None, *, offered: bool
    ) -> AsyncIterator[tuple[Opened, Worker]]:
        settings = self.settings
        async with (
            self._open() as opened,
            open_llm(
                settings, opened.store, self._clock, self.offline_writer, models=self.models
            ) as llm,
            open_courier(settings, opened, self._clock) as courier,
            self._extended(opened) as brought,
        ):
            client = opened.client
            await client.artifact_store.check()
            await client.artifact_store.sweep()
            if settings.keep_days is not None:
                self.registry.keep = timedelta(days=settings.keep_days)
            worker = Worker(
                Services(
                    store=opened.store,
                    artifacts=client.artifact_store,
                    clock=self._clock,
                    resources={type(llm): llm, **courier, **brought, **self._resources},
                    blobs=SealedBlobs(client.artifact_store, keyring_of(settings)),
                ),
                self.registry,
                opened.dispatcher,
                queues=queues,
                slots=slots or settings.concurrency,
                drain_grace=timedelta(seconds=settings.drain_grace_seconds),
                lease_seconds=settings.lease_seconds,
                offered=offered,
            )
            async with measured(settings, worker):
                try:
                    await worker.start()
                    yield opened, worker
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
        refuse_in_loop()
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
    async def _open(self) -> AsyncIterator[Opened]:
        refuse_in_child()
        settings = self.settings
        if settings.uses_home:
            prepare_home(settings.home)
        artifacts = artifacts_of(settings, self._clock)
        synchronous = settings.sqlite_synchronous
        keys = keyring_of(settings)
        opened = await open_store(settings.store_url, self._clock, synchronous=synchronous)
        try:
            store = await open_sealed(opened, keys)
            async with open_dispatcher(self.broker(), store) as dispatcher:
                client = JobClient(store, self.registry, dispatcher, artifacts, self._enlisting)
                try:
                    service, orders = opened.service.sealed_by(keys), opened.orders.sealed_by(keys)
                    yield Opened(client, store, dispatcher, service, orders)
                finally:
                    await client.submissions.close()
        finally:
            await opened.close()

    def _extended(self, opened: Opened) -> AbstractAsyncContextManager[dict[type, object]]:
        return extended(self.extensions, self.settings, opened, self._clock)

    def _routers(self) -> Sequence[APIRouter]:
        return [router for extension in self.extensions for router in extension.routers()]

    def _enlisting(self) -> SqlEnlister:
        if self._enlister is None:
            self._enlister = enlister_of(self.settings, self._clock)
        return self._enlister


def _interrupt(task: asyncio.Task[Any] | None) -> None:
    """End the program as Ctrl-C does: by draining."""
    if task is not None:
        task.cancel()
