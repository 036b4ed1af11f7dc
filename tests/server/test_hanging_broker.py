"""A broker that takes connections and answers nothing must not hold up an answer."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from holdfast.dispatch.celery import celery_app, install
from holdfast.dispatch.celery_publisher import CeleryDispatcher
from holdfast.engine.client import JobClient
from holdfast.testing.service import running_service
from holdfast.testing.signals import eventually

JOBS = "/api/v1/jobs"


class SilentBroker:
    """A port where connections are taken, requests are read, and nothing is ever said."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.url = ""
        self._open: list[asyncio.StreamWriter] = []

    async def hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        if await reader.read(1):
            self.asked.set()
            await reader.read()

    def hang_up(self) -> None:
        for writer in self._open:
            writer.close()


@pytest.fixture
async def broker() -> AsyncIterator[SilentBroker]:
    broker = SilentBroker()
    async with await asyncio.start_server(broker.hold, "127.0.0.1", 0) as server:
        broker.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        yield broker
        broker.hang_up()


@pytest.mark.timeout(60)
async def test_submission_is_answered_while_the_broker_hangs(harness, broker):
    dispatcher = CeleryDispatcher(install(celery_app(broker.url)))
    harness.client = JobClient(harness.store, harness.registry, dispatcher, harness.artifacts)
    try:
        async with running_service(harness) as running, running.http(await running.key()) as http:
            first = await http.post(JOBS, json={"kind": "greet", "input": "ada"})
            # From here on the one thread that speaks to the broker waits for its answer.
            await eventually(broker.asked.is_set)
            others = [await http.post(JOBS, json={"kind": "greet", "input": str(n)}) for n in range(20)]
            still_hanging = dispatcher._thread.is_alive() and dispatcher._waiting.qsize() == 20
            shown = await http.get(others[-1].headers["location"])
    finally:
        broker.hang_up()
        await dispatcher.close()

    assert {answer.status_code for answer in (first, *others)} == {202}
    assert shown.json()["status"] == "queued"
    assert still_hanging
