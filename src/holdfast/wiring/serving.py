"""Settings become the HTTP service."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from holdfast.errors import ConfigError

try:
    from holdfast.server.app import create_api
    from holdfast.server.service import Service, ServiceOptions
except ImportError as error:
    raise ConfigError(
        f"the HTTP service cannot be imported: {error}", hint="install 'holdfast[server]'"
    ) from error
from holdfast.server.tokens import Tokens
from holdfast.wiring.secrets import secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from fastapi import FastAPI

    from holdfast.clock import Clock
    from holdfast.dispatch.celery import CeleryApp
    from holdfast.engine.registry import Registry
    from holdfast.engine.worker import Worker
    from holdfast.settings import Settings
    from holdfast.wiring.opening import Opened


def api_of(
    settings: Settings, open_service: Callable[[], AbstractAsyncContextManager[Service]]
) -> FastAPI:
    """Return the ASGI application that the settings describe.

    Raises:
        ConfigError: Settings contradict each other.
    """
    return create_api(open_service, options_of(settings))


def options_of(settings: Settings) -> ServiceOptions:
    """Return what of the settings the service goes by.

    Raises:
        ConfigError: Settings contradict each other.
    """
    return ServiceOptions(
        open_access=settings.open_access,
        cors_origins=settings.cors_origin_list,
        body_bytes_max=settings.body_bytes_max,
        requests_per_minute=settings.client_requests_per_minute,
        streams_max=settings.streams_max,
        client_streams_max=settings.client_streams_max,
        public_url=settings.public_url or f"http://{settings.host}:{settings.port}",
        webhook_networks=settings.webhook_network_list,
    )


def service_of(
    opened: Opened,
    registry: Registry,
    settings: Settings,
    clock: Clock,
    *,
    broker: CeleryApp | None = None,
    worker: Worker | None = None,
) -> Service:
    """Return what requests work with, while everything is open.

    Args:
        opened: The store and what announces jobs.
        registry: The kinds.
        settings: The settings in force.
        clock: For times.
        broker: What jobs are announced by, if there is one.
        worker: The one that runs jobs beside the service, if one does.
    """
    return Service(
        client=opened.client,
        store=opened.store,
        records=opened.service,
        registry=registry,
        clock=clock,
        options=options_of(settings),
        tokens=Tokens(secrets_of(settings), clock),
        troubles=tuple if worker is None else worker.troubles,
        reach_broker=None if broker is None else _broker_check(broker),
    )


def _broker_check(broker: CeleryApp) -> Callable[[], None]:
    from holdfast.dispatch.celery_broker import check_broker

    return functools.partial(check_broker, broker)
