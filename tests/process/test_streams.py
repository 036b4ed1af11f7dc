"""Live streams when the processes behind them die."""

import asyncio
import itertools
import signal
from collections.abc import Callable

import aiohttp
import pytest

from holdfast.testing.servers.base import free_port
from tests.process import jobs
from tests.process.conftest import APP, Open, Place, Process, eventually

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(120)]

JOBS = 25
STREAMS = 500
LINES = 20


class Client:
    """Follows a job as a browser does: comes back with the last id until it is told of the end."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.seen: list[tuple[int, str]] = []
        """Number and type of each event that came, in order of arrival."""
        self.connections = 0
        self._session = session
        self._url = url

    async def follow(self) -> None:
        while True:
            try:
                if await self._read():
                    return
            except aiohttp.ClientError:
                # The server is away.
                await asyncio.sleep(0.1)

    async def _read(self) -> bool:
        """Read one answer; whether it told of the end."""
        headers = {"Last-Event-ID": str(self.seen[-1][0])} if self.seen else {}
        async with self._session.get(self._url, headers=headers) as answer:
            answer.raise_for_status()
            self.connections += 1
            fields: dict[str, str] = {}
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                    continue
                if fields.get("event") == "end":
                    return True
                if "id" in fields:
                    self.seen.append((int(fields["id"]), fields["event"]))
                fields = {}
        return False


async def serve(place: Place, port: int) -> Process:
    process = await place.holdfast(*APP, "serve", "--no-worker", "--port", str(port))
    await process.says("serving")
    return process


async def test_server_killed_under_500_streams_loses_and_repeats_nothing(open_place: Open) -> None:
    """Every client ends with the whole list of events, without a gap, although a worker dies, too."""
    place = await open_place(lease_seconds=1)
    port = free_port()
    gate = place.folder / "gate"
    slots = ("--concurrency", str(JOBS * 2 // 3))  # so that both workers have some of the jobs
    server, worker, _ = await asyncio.gather(
        serve(place, port), place.worker(*slots), place.worker(*slots)
    )
    said = jobs.Talk(lines=LINES, gate=str(gate))
    job_ids = [(await place.client.submit("talk", said)).job_id for _ in range(JOBS)]
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        clients = {
            Client(session, f"http://127.0.0.1:{port}/api/v1/jobs/{job_id}/stream"): job_id
            for job_id in itertools.islice(itertools.cycle(job_ids), STREAMS)
        }
        following = [asyncio.create_task(client.follow()) for client in clients]
        await eventually(all_have(clients, 8), "eight events on every stream")

        for process in (server, worker):
            process.signal(signal.SIGKILL)
        await server.end()
        cut_at = [len(client.seen) for client in clients]
        gate.touch()
        await asyncio.gather(serve(place, port), place.worker(*slots))

        async with asyncio.timeout(60):
            await asyncio.gather(*following)

    for job_id in job_ids:
        stored = [(event.seq, event.type) for event in await place.events(job_id)]
        assert [seq for seq, _ in stored] == list(range(1, len(stored) + 1))
        assert stored[-1][1] == "job.completed"
        assert all(client.seen == stored for client, followed in clients.items() if followed == job_id)
    lost = [job_id for job_id in job_ids if await place.events(job_id, "attempt.lost")]
    assert lost, "no job was running when the worker died"
    assert all(client.connections > 1 for client in clients)
    assert all(len(client.seen) > count for client, count in zip(clients, cut_at, strict=True))


def all_have(clients: dict[Client, str], count: int) -> Callable[[], bool]:
    return lambda: all(len(client.seen) >= count for client in clients)
