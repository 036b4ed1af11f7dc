"""Runs the service until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any

import uvicorn

from holdfast.errors import ConfigError
from holdfast.server.stopping import server_tells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fastapi import FastAPI

GRACE_SECONDS = 10
"""How long requests under way may go on once the server is to stop; streams end at once."""

SILENT_SECONDS = 60
"""A client that takes nothing of what it is sent for so long is cut off: gone, or not reading."""

PING_SECONDS = 15
"""How often WebSocket clients are asked whether they are there; this also keeps proxies from cutting."""

_BACKLOG = 2_048


async def serve_api(
    api: FastAPI, *, host: str, port: int, stop: asyncio.Event, on_ready: Callable[[int], None]
) -> None:
    """Serve until `stop` is set, then let requests under way end.

    Args:
        api: The application; its lifespan opens everything.
        host: Address to listen on.
        port: 0 for any free one.
        stop: Ends it.
        on_ready: Called with the port once everything is open and requests are answered.

    Raises:
        ConfigError: The address cannot be listened on.
        HoldfastError: The service could not be opened.
    """
    logging.getLogger("uvicorn.error").addFilter(_tells_of_us)
    with _bound(host, port) as bound, server_tells():
        async with api.router.lifespan_context(api) as state:
            server = _Server(_config(api, state), lambda: on_ready(bound.getsockname()[1]))
            serving = asyncio.create_task(server.serve([bound]))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                server.should_exit = True
                stopping.cancel()
                await serving


class _Server(uvicorn.Server):
    """uvicorn, but streams are told to end as soon as it is to stop, so it does not wait for them."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state["holdfast"].closing.set()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the server and sets `stop`."""
        yield


class _Open:
    """The lifespan of an application that is open already: uvicorn would keep its errors to itself."""

    should_exit = False

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)

    async def startup(self) -> None: ...

    async def shutdown(self) -> None: ...


def _config(api: FastAPI, state: Mapping[str, Any] | None) -> uvicorn.Config:
    config = uvicorn.Config(
        api,
        log_config=None,
        # Below, it logs the URLs of WebSockets, which hold tokens.
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=30,
        ws_max_size=64 * 1024,
        ws_ping_interval=PING_SECONDS,
        # Events are short, and each compressed connection would keep its own dictionaries.
        ws_per_message_deflate=False,
    )
    config.load()
    # Its lines hold tokens for single jobs (`?token=`): `access_log` only takes its handlers away.
    logging.getLogger("uvicorn.access").disabled = True
    config.lifespan_class = lambda _: _Open(state or {})
    return config


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Give a socket on the address, before anything slow is opened behind it."""
    with contextlib.ExitStack() as stack:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            bound = stack.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _limit_silence(bound)
            bound.bind(address)
            bound.listen(_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be listened on: {error.strerror}",
                hint="choose another --port or --host",
            ) from error
        yield bound


def _limit_silence(sock: socket.socket) -> None:
    """Have the kernel cut off silent clients; accepted connections inherit it."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)


def _tells_of_us(record: logging.LogRecord) -> bool:
    """Whether a log line is about this server, not about a client that sent something undecodable."""
    return not (record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError))
