"""What every request works with, and how a request gets at it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from holdfast.server.checks import Checks
from holdfast.server.fleet import FleetWatch
from holdfast.server.good_keys import GoodKeys
from holdfast.server.tries import Tries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from holdfast.clock import Clock
    from holdfast.engine.client import JobClient
    from holdfast.engine.registry import Registry
    from holdfast.server.tokens import Tokens
    from holdfast.store.base import Store
    from holdfast.store.service import ServiceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """What the service goes by; see the settings of these names."""

    open_access: bool = False
    """Requests without a key are an operator's."""
    cors_origins: tuple[str, ...] = ()
    body_bytes_max: int = 1024**2
    requests_per_minute: int = 6_000
    public_url: str = "http://127.0.0.1:8000"
    streams_max: int = 4_000
    client_streams_max: int = 2_500
    heartbeat_seconds: float = 15.0
    """How long a stream may be silent before a comment is sent, so that no proxy cuts it."""
    recheck_seconds: float = 30.0
    """How long a stream goes on after its key was revoked."""
    webhook_networks: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything open that requests need, for as long as the service runs."""

    client: JobClient
    store: Store
    records: ServiceStore
    registry: Registry
    clock: Clock
    options: ServiceOptions
    tokens: Tokens
    good_keys: GoodKeys = field(default_factory=GoodKeys)
    sign_ins: Tries = field(default_factory=lambda: Tries(limit=10, seconds=60))
    """Failed tries to sign in to the console, by address."""
    resources: Mapping[type, object] = field(default_factory=dict)
    """What applications' own routes work with, by type."""
    troubles: Callable[[], Sequence[str]] = tuple
    """Gives what is wrong with this process that a restart may cure."""
    reach_broker: Callable[[], None] | None = None
    """Connects to the broker, blocking, and raises if that cannot be done; None where there is none."""
    checks: Checks = field(default_factory=Checks)
    fleet: FleetWatch = field(default_factory=FleetWatch)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server begins to stop: streams end, so that their clients go elsewhere."""


def service_of(connection: HTTPConnection) -> Service:
    """Return the service that a request or socket came to; it is put there by the router's lifespan."""
    found: Service = connection.state.holdfast
    return found


async def _service_here(connection: HTTPConnection) -> Service:
    # Asynchronous, because FastAPI calls what is not in a thread, for every request.
    return service_of(connection)


Here = Annotated[Service, Depends(_service_here)]
"""The service, as a parameter of a route."""
