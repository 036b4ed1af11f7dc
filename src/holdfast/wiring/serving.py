"""Settings become the HTTP service."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING

from holdfast.errors import ConfigError

try:
    from holdfast.server.app import create_api, create_router
    from holdfast.server.service import Service, ServiceOptions
except ImportError as error:
    raise ConfigError(
        f"the HTTP service cannot be imported: {error}", hint="install 'holdfast[server]'"
    ) from error
from holdfast.server.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from fastapi import APIRouter, FastAPI

    from holdfast.clock import Clock
    from holdfast.dispatch.celery import CeleryApp
    from holdfast.engine.registry import Registry
    from holdfast.engine.worker import Worker
    from holdfast.settings import Settings
    from holdfast.wiring.opening import Opened


def api_of(
    settings: Settings,
    open_service: Callable[[], AbstractAsyncContextManager[Service]],
    *,
    open_access: bool,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """Return the ASGI application that settings and `open_access` describe.

    Raises:
        ConfigError: Settings contradict each other.
    """
    return create_api(open_service, options_of(settings, open_access=open_access), routers=routers)


def router_of(
    settings: Settings,
    open_service: Callable[[], AbstractAsyncContextManager[Service]],
    *,
    open_access: bool,
    routers: Sequence[APIRouter] = (),
) -> APIRouter:
    """Return the routes for an application of others that settings and `open_access` describe.

    Raises:
        ConfigError: Settings contradict each other.
    """
    options = options_of(settings, open_access=open_access)
    return create_router(open_service, options, routers=routers)


def options_of(settings: Settings, *, open_access: bool) -> ServiceOptions:
    """Return what of the settings the service goes by.

    Args:
        settings: The settings.
        open_access: Whether requests of this machine need no key.

    Raises:
        ConfigError: Settings contradict each other.
    """
    return ServiceOptions(
        open_access=open_access,
        cors_origins=settings.cors_origin_list,
        body_bytes_max=settings.body_bytes_max,
        requests_per_minute=settings.client_requests_per_minute,
        streams_max=settings.streams_max,
        client_streams_max=settings.client_streams_max,
        public_url=settings.service_url,
        webhook_networks=settings.webhook_network_list,
    )


def service_of(
    opened: Opened,
    registry: Registry,
    options: ServiceOptions,
    secrets: Sequence[str],
    clock: Clock,
    *,
    broker: CeleryApp | None = None,
    worker: Worker | None = None,
    resources: Mapping[type, object] | None = None,
) -> Service:
    """Return what requests work with, while everything is open.

    Args:
        opened: The store and what announces jobs.
        registry: The kinds.
        options: What the service goes by.
        secrets: What signs tokens and sessions.
        clock: For times.
        broker: What jobs are announced by, if there is one.
        worker: The one that runs jobs beside the service, if one does.
        resources: What applications' own routes work with.
    """
    return Service(
        client=opened.client,
        store=opened.store,
        records=opened.service,
        registry=registry,
        clock=clock,
        options=options,
        tokens=Tokens(secrets, clock),
        resources=resources or {},
        troubles=tuple if worker is None else worker.troubles,
        reach_broker=None if broker is None else _broker_check(broker),
    )


@contextlib.asynccontextmanager
async def claiming_until_close(worker: Worker, closing: asyncio.Event) -> AsyncIterator[None]:
    """Have the worker claim no more once the server begins to stop, so that it has less to drain."""

    async def stop() -> None:
        await closing.wait()
        worker.stop_claiming()

    stopping = asyncio.create_task(stop(), name="holdfast-stop-claiming")
    try:
        yield
    finally:
        stopping.cancel()
        await asyncio.wait((stopping,))


def _broker_check(broker: CeleryApp) -> Callable[[], None]:
    from holdfast.dispatch.celery_broker import check_broker

    return functools.partial(check_broker, broker)
