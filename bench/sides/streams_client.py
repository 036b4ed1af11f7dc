"""Opens many streams and tells how long events were on their way."""

import asyncio
import itertools
import os
import re
import resource
import statistics
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.sides.program import main, run_async
from holdfast import App
from holdfast.engine.registry import Registry
from holdfast.settings import Settings

_AT = re.compile(rb'"type":"line\.spoken","at":"([^"]+)"')
_CONNECTING_AT_ONCE = 50
_OPEN_SECONDS_MAX = 90.0


class _Stream(asyncio.Protocol):
    """One stream; keeps what arrived, to be looked at when nothing is measured any more."""

    def __init__(self, path: str) -> None:
        self.arrived: list[tuple[float, bytes]] = []
        self.told = False
        self.lost = False
        self._path = path

    def connection_made(self, transport: Any) -> None:
        transport.write(f"GET {self._path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.arrived.append((time.time(), data))
        self.told = self.told or b"line.spoken" in data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def delays(self, since: float) -> list[float]:
        """Seconds from when the store dated each event until it was here."""
        found, rest = [], b""
        for arrived, data in self.arrived:
            rest += data
            last = 0
            for match in _AT.finditer(rest):
                at = datetime.fromisoformat(match[1].decode()).timestamp()
                if at >= since:
                    found.append(arrived - at)
                last = match.end()
            rest = rest[last:]
        return found


def measure(*, port: int, pid: int, home: str, jobs: int, streams: int, seconds: float, **_: Any) -> Any:
    """Open the streams, wait until all are told something, then listen for `seconds`."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def work() -> Any:
        names = await _submit(home, jobs) if home else [str(number) for number in range(jobs)]
        before = _rss_kib(pid)
        paths = [
            f"/api/v1/jobs/{name}/stream" for name in itertools.islice(itertools.cycle(names), streams)
        ]
        opened = await _open(port, paths)
        async with asyncio.timeout(_OPEN_SECONDS_MAX):
            while not all(each.told for each in opened):  # noqa: ASYNC110 - no event for each stream
                await asyncio.sleep(0.2)
        await asyncio.sleep(1.0)
        since, busy_before = time.time(), _busy_seconds(pid)
        await asyncio.sleep(seconds)
        after, busy = _rss_kib(pid), _busy_seconds(pid) - busy_before
        if any(each.lost for each in opened):
            raise SystemExit("streams were cut")
        found = sorted(itertools.chain.from_iterable(each.delays(since) for each in opened))
        cuts = statistics.quantiles(found, n=100)
        return {
            "events": len(found),
            "p50": cuts[49],
            "p95": cuts[94],
            "p99": cuts[98],
            "kib": (after - before) / streams,
            "busy": busy / len(found),
        }

    return run_async(work())


async def _submit(home: str, jobs: int) -> list[str]:
    app = App(Settings(home=Path(home), provider="scripted"))
    app.registry = _registry()
    async with app.client() as client:
        return [(await client.submit("talk", number)).job_id for number in range(jobs)]


def _registry() -> Registry:
    from bench.sides.streams_app import app

    return app.registry


async def _open(port: int, paths: list[str]) -> list[_Stream]:
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(_CONNECTING_AT_ONCE)

    async def one(path: str) -> _Stream:
        async with gate:
            _, stream = await loop.create_connection(lambda: _Stream(path), "127.0.0.1", port)
            return stream

    return await asyncio.gather(*map(one, paths))


def _rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise LookupError(pid)


def _busy_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(measure)
