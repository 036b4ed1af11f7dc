"""Where a run takes place: real servers, a provider, a client and a fleet of processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from holdfast import App
from holdfast.settings import Settings
from holdfast.testing.chaos.books import Outage
from holdfast.testing.chaos.fleet import Fleet
from holdfast.testing.servers.base import Server
from holdfast.testing.servers.postgres import Postgres
from holdfast.testing.servers.rabbitmq import RabbitMQ
from holdfast.testing.servers.redis import Redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from holdfast.engine.client import JobClient
    from holdfast.engine.registry import Registry
    from holdfast.testing.chaos.fleet import Post
    from holdfast.testing.provider import ProviderSimulator

BROKERS: dict[str, type[Redis | RabbitMQ] | None] = {
    "redis": Redis,
    "rabbitmq": RabbitMQ,
    "none": None,
}

_DATABASE = "chaos"
_QUEUE_PREFIX = "chaos."

AnyServer = TypeVar("AnyServer", bound=Server)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is to be on a stage; times in seconds."""

    broker: str
    """`redis`, `rabbitmq`, or `none`: workers then look into the store."""
    provider: ProviderSimulator
    """Who answers model calls; it is opened with the stage."""
    registry: Registry
    """The kinds of jobs."""
    posts: Sequence[Post]
    lease_seconds: float
    drain_grace_seconds: float
    """How long steps may go on in a worker that leaves."""
    environment: Mapping[str, str]
    """Of all processes, beside what leads them to the servers."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """All parts of a run."""

    scene: Scene
    folder: Path
    store: Postgres
    broker: Redis | RabbitMQ | None
    app: App
    client: JobClient
    fleet: Fleet
    zero: float
    """`time.monotonic` when the run began."""
    wall_zero: float
    """`time.time` at the same moment."""
    provider_zero: float
    """`time.monotonic` at the zero of the provider's clock."""
    job_ids: dict[str, str] = field(default_factory=dict)
    """Of the jobs submitted so far, by name."""
    outages: list[Outage] = field(default_factory=list)

    @property
    def store_url(self) -> str:
        """Of the database."""
        return self.store.url_of(_DATABASE)

    @property
    def artifacts(self) -> Path:
        """Where artifacts lie."""
        return self.folder / "artifacts"

    def now(self) -> float:
        """Return seconds since the run began."""
        return time.monotonic() - self.zero

    async def outage(self, name: str, server: Server, end: Callable[[], None], seconds: float) -> None:
        """Take a server away by `end` for a while, and bring it back."""
        began = self.now()
        try:
            await asyncio.to_thread(end)
            await asyncio.sleep(seconds)
        finally:
            if not server.running:
                await asyncio.to_thread(server.start)
            self.outages.append(Outage(server=name, began=began, ended=self.now()))


def clock_file(folder: Path) -> Path:
    """Return the file that holds by how many seconds the stepped worker's clock is wrong."""
    return folder / "clock"


@asynccontextmanager
async def open_stage(scene: Scene, folder: Path) -> AsyncIterator[Stage]:
    """Start everything but the fleet; whatever is still there at the end is killed."""
    broker_type = BROKERS[scene.broker]
    async with contextlib.AsyncExitStack() as stack:
        # Killed servers lose nothing without fsync: only a crash of the machine would.
        store = await _started(stack, Postgres(fsync=False))
        broker = None if broker_type is None else await _started(stack, broker_type())
        url = await asyncio.to_thread(store.create_database, _DATABASE)
        provider_zero = time.monotonic()
        provider = await stack.enter_async_context(scene.provider)
        settings = Settings(
            store=url,
            artifacts=str(folder / "artifacts"),
            home=folder / "home",
            provider="scripted",
            broker=None if broker is None else broker.url,
            queue_prefix=_QUEUE_PREFIX,
        )
        app = App(settings)
        app.registry = scene.registry
        client = await stack.enter_async_context(app.client())
        fleet = Fleet(folder, scene.posts, _environment(scene, settings, provider.base_url))
        stack.push_async_callback(fleet.end)
        yield Stage(
            scene=scene,
            folder=folder,
            store=store,
            broker=broker,
            app=app,
            client=client,
            fleet=fleet,
            zero=time.monotonic(),
            wall_zero=time.time(),
            provider_zero=provider_zero,
        )


async def _started(stack: contextlib.AsyncExitStack, server: AnyServer) -> AnyServer:
    stack.push_async_callback(asyncio.to_thread, server.close)
    await asyncio.to_thread(server.start)
    return server


def _environment(scene: Scene, settings: Settings, provider_url: str) -> dict[str, str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HOLDFAST_", "OPENAI_", "STRIPE_"))
    }
    if settings.broker is not None:
        clean["HOLDFAST_BROKER"] = settings.broker.get_secret_value()
    return {
        **clean,
        "HOLDFAST_HOME": str(settings.home),
        "HOLDFAST_STORE": settings.store,
        "HOLDFAST_ARTIFACTS": settings.artifacts,
        "HOLDFAST_QUEUE_PREFIX": settings.queue_prefix,
        "HOLDFAST_LEASE_SECONDS": str(scene.lease_seconds),
        "HOLDFAST_DRAIN_GRACE_SECONDS": str(scene.drain_grace_seconds),
        "HOLDFAST_LOG_FORMAT": "json",
        "HOLDFAST_LOG_LEVEL": "info",
        "HOLDFAST_OPENAI_BASE_URL": provider_url,
        "HOLDFAST_OPENAI_API_KEY": "none",
        "HOLDFAST_REQUESTS_PER_MINUTE": "1000000",
        "HOLDFAST_TOKENS_PER_MINUTE": "1000000000",
        **scene.environment,
    }
