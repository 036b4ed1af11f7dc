"""Runs the service until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import uvicorn

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from fastapi import FastAPI

GRACE_SECONDS = 10
"""How long requests under way may go on once the server is to stop; streams end at once."""


class Server(uvicorn.Server):
    """uvicorn, but streams are told to end as soon as it is to stop, so it does not wait for them."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[int], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        service = self.lifespan.state.get("holdfast")
        if service is not None:
            service.closing.set()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave signals to whoever runs the server, which sets `should_exit`."""
        yield


async def serve_api(
    api: FastAPI, *, host: str, port: int, stop: asyncio.Event, on_ready: Callable[[int], None]
) -> None:
    """Serve until `stop` is set, then let requests under way end.

    Args:
        api: The application.
        host: Address to listen on.
        port: 0 for any free one.
        stop: Ends it.
        on_ready: Called with the port once it is listened on and everything is open.

    Raises:
        ConfigError: The address cannot be listened on.
        HoldfastError: The service could not be opened.
    """
    config = uvicorn.Config(
        api,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=30,
        ws_max_size=64 * 1024,
        lifespan="on",
    )
    # Its lines hold tokens for single jobs (`?token=`): `access_log` only takes its handlers away.
    logging.getLogger("uvicorn.access").disabled = True
    server = Server(config, on_ready)
    running = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await running
    except SystemExit:
        raise ConfigError(
            f"{host}:{port} cannot be listened on", hint="choose another --port or --host"
        ) from None
    finally:
        stopping.cancel()
