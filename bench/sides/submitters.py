"""Clients that submit jobs, each on a connection of its own, and the time that each answer took."""

import asyncio
import statistics
import time
from typing import Any

from bench.sides.program import main, run_async

_HEAD_END = b"\r\n\r\n"


class Submitter:
    """One client: a kept connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self._reader = reader
        self._writer = writer
        self._key = key

    async def submit(self, number: int) -> None:
        """Submit a job, and see that it was accepted."""
        body = b'{"kind":"order","input":{"number":%d,"title":"tides and moons","pages":12}}' % number
        head = (
            "POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self._key}\r\nContent-Length: {len(body)}"
        )
        self._writer.write(head.encode() + _HEAD_END + body)
        answer = (await self._reader.readuntil(_HEAD_END)).lower()
        if not answer.startswith(b"http/1.1 202"):
            raise RuntimeError(answer.decode())
        length = int(answer.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await self._reader.readexactly(length)


async def _pace(client: Submitter, first: int, count: int, every: float, began: float) -> list[float]:
    """Submit at fixed times, or one after another if `every` is 0; return what each took.

    A request that could not be sent in time, because the one before was late, counts from when it
    was due: the wait is the server's.
    """
    taken = []
    for turn in range(count):
        due = began + turn * every if every else time.perf_counter()
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await client.submit(first + turn)
        taken.append(time.perf_counter() - due)
    return taken


async def load(port: int, key: str, clients: int, requests: int, per_second: float) -> dict[str, float]:
    """Have so many clients submit so many jobs each, so many a second together; 0 for no pause."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    submitters = [Submitter(reader, writer, key) for reader, writer in connections]
    for submitter in submitters:
        await submitter.submit(0)
    every = clients / per_second if per_second else 0.0
    began = time.perf_counter()
    taken = await asyncio.gather(
        *(
            # Spread over the period, as independent clients are.
            _pace(submitter, place * requests, requests, every, began + every * place / clients)
            for place, submitter in enumerate(submitters)
        )
    )
    seconds = time.perf_counter() - began
    for _, writer in connections:
        writer.close()
    every_one = sorted(one for each in taken for one in each)
    return {
        "p50_ms": statistics.median(every_one) * 1_000,
        "p99_ms": every_one[int(len(every_one) * 0.99)] * 1_000,
        "worst_ms": every_one[-1] * 1_000,
        "per_second": len(every_one) / seconds,
    }


def measure(**sizes: Any) -> Any:
    del sizes["folder"]  # nothing is kept
    return run_async(load(**sizes))


if __name__ == "__main__":
    main(measure)
