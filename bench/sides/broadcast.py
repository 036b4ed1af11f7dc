"""The physical limit: events of the same size to the same clients, from a bare asyncio server.

No jobs, no store: whoever asks for `/NAME` gets what is said under that name.
"""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

from bench.sides.program import main, run_async

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class _Client(asyncio.Protocol):
    def __init__(self, listeners: dict[str, list[Any]]) -> None:
        self._listeners = listeners

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        name = data.split(b" ")[1].decode().split("/")[-2]
        self._transport.write(_HEAD)
        self._listeners.setdefault(name, []).append(self._transport)


def _say(listeners: dict[str, list[Any]], name: str, seq: int) -> None:
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    data = f'{{"seq":{seq},"type":"line.spoken","at":"{at}","data":{{"text":"{"x" * 100}"}}}}'
    block = f"id: {seq}\nevent: line.spoken\ndata: {data}\n\n".encode()
    chunk = b"%x\r\n%b\r\n" % (len(block), block)
    for transport in listeners.get(name, ()):
        transport.write(chunk)


async def _talk(listeners: dict[str, list[Any]], number: int, seconds: float) -> None:
    await asyncio.sleep(number * 0.618 % 1 * seconds)
    seq = 0
    while True:
        seq += 1
        _say(listeners, str(number), seq)
        await asyncio.sleep(seconds)


def measure(*, names: int, seconds_between: float, **_: Any) -> None:
    """Serve until the process is ended."""

    async def serve() -> None:
        listeners: dict[str, list[Any]] = {}
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Client(listeners), "127.0.0.1", 0, backlog=4096)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.gather(*(_talk(listeners, number, seconds_between) for number in range(names)))

    run_async(serve())


if __name__ == "__main__":
    main(measure)
