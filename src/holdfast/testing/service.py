"""A real HTTP service on a free loopback port, in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import httpx2

from holdfast.server.access import ALL_ACTIONS, Action, make_key
from holdfast.server.app import create_api
from holdfast.server.run import serve_api
from holdfast.server.service import Service, ServiceOptions
from holdfast.server.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from fastapi import APIRouter, FastAPI

    from holdfast.testing.harness import Harness

SECRETS = ("a secret of tests that is long enough",)


class RunningService:
    """A service that runs, and ways to speak to it."""

    def __init__(self, url: str, service: Service, api: FastAPI) -> None:
        self.url = url
        """Such as `http://127.0.0.1:43567`."""
        self.service = service
        self.api = api

    async def key(
        self,
        *actions: Action,
        tenant: str | None = None,
        kinds: Iterable[str] | None = None,
    ) -> str:
        """Make a key with these actions, all by default."""
        key, kept = make_key(
            name="test",
            actions=actions or ALL_ACTIONS,
            at=self.service.clock.now(),
            tenant=tenant,
            kinds=kinds,
        )
        await self.service.records.insert_key(kept)
        return key

    def http(self, key: str | None = None, **options: Any) -> httpx2.AsyncClient:
        """Return a client of the service; the caller closes it."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A machine may be busy; that a test hangs is for its own time limit to find out.
        options.setdefault("timeout", 20)
        return httpx2.AsyncClient(base_url=self.url, headers=headers, trust_env=False, **options)


@contextlib.asynccontextmanager
async def running_service(
    harness: Harness,
    *,
    port: int = 0,
    routers: Sequence[APIRouter] = (),
    resources: Mapping[type, object] | None = None,
    **options: Any,
) -> AsyncIterator[RunningService]:
    """Serve a harness's jobs over HTTP.

    Args:
        harness: Whose jobs.
        port: 0 for any free one.
        routers: Of applications, beside the service's own.
        resources: What those routes work with.
        **options: Fields of `ServiceOptions`.
    """
    opened: list[Service] = []
    service_options = ServiceOptions(**options)

    @contextlib.asynccontextmanager
    async def open_service() -> AsyncIterator[Service]:
        service = Service(
            client=harness.client,
            store=harness.store,
            records=harness.real_store.service,
            registry=harness.registry,
            clock=harness.clock,
            options=service_options,
            tokens=Tokens(SECRETS, harness.clock),
            resources=resources or {},
        )
        opened.append(service)
        yield service

    api = create_api(open_service, service_options, routers=routers)
    stop = asyncio.Event()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve_api(api, host="127.0.0.1", port=port, stop=stop, on_ready=ready.set_result)
    )
    try:
        await asyncio.wait((serving, ready), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield RunningService(f"http://127.0.0.1:{ready.result()}", opened[0], api)
    finally:
        stop.set()
        await serving
