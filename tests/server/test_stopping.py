"""A stop under a server that knows nothing of our streams: a plain uvicorn, in a process of its own."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from holdfast.server.stopping import closing_on_signals, server_tells
from holdfast.testing.servers.base import free_port
from holdfast.testing.signals import eventually

START_SECONDS, STOP_SECONDS = 40, 30

MODULE = """
from fastapi import FastAPI
from holdfast import App

durable = App()


@durable.job("wait")
async def wait(job) -> str:
    return str(await job.wait_for("never"))


web = FastAPI()
web.include_router(durable.router(open_access=True), prefix="/holdfast")
"""


@contextlib.asynccontextmanager
async def uvicorn(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    (folder / "shop.py").write_text(MODULE)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "shop:web", "--port", str(port)),
        cwd=folder,
        env={**os.environ, "HOLDFAST_HOME": str(folder / "home")},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(START_SECONDS):
            while b"running on" not in (line := await process.stderr.readline()):
                assert line, "uvicorn has ended"
        yield process, f"http://127.0.0.1:{port}/holdfast/api/v1/jobs"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_open_stream_does_not_hold_up_a_stop(tmp_path):
    async with uvicorn(tmp_path) as (process, jobs), httpx2.AsyncClient(trust_env=False) as http:
        job = (await http.post(jobs, json={"kind": "wait"}, timeout=20)).json()["job_id"]
        async with http.stream("GET", f"{jobs}/{job}/events", timeout=STOP_SECONDS) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):
                async for _ in lines:
                    pass
                status = await process.wait()

    assert status in {0, -signal.SIGTERM}


@pytest.fixture
def caught():
    """Signals that a server's own handler gets, as if one ran here."""
    got: list[int] = []
    earlier = signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
    yield got
    signal.signal(signal.SIGTERM, earlier)


async def test_server_gets_its_signal_and_its_handler_back(caught):
    closing, own = asyncio.Event(), signal.getsignal(signal.SIGTERM)

    with closing_on_signals(closing):
        signal.raise_signal(signal.SIGTERM)
        await eventually(closing.is_set)

    assert caught == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is own


async def test_handler_that_came_later_is_left_where_it_is(caught):
    def later(*_: object) -> None: ...

    with closing_on_signals(asyncio.Event()):
        signal.signal(signal.SIGTERM, later)

    assert signal.getsignal(signal.SIGTERM) is later


async def test_signals_are_left_alone_where_the_server_tells_itself(caught):
    own = signal.getsignal(signal.SIGTERM)

    with server_tells(), closing_on_signals(asyncio.Event()):
        assert signal.getsignal(signal.SIGTERM) is own


async def test_signals_are_left_alone_where_they_end_the_process():
    earlier = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with closing_on_signals(asyncio.Event()):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, earlier)


async def test_signals_are_left_alone_outside_the_main_thread(caught):
    own, seen = signal.getsignal(signal.SIGTERM), []

    def elsewhere() -> None:
        with closing_on_signals(asyncio.Event()):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)

    assert seen == [own]
