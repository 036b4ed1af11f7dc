"""Events over connections that are cut, held back, or of no use: gapless, and never twice."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from holdfast.errors import HoldfastError, JobNotFoundError, ServiceUnavailableError
from holdfast.model import JobStatus
from holdfast.remote import Client, watching
from holdfast.remote.transport import SILENCE_SECONDS
from holdfast.server.examples import JOB
from holdfast.testing.service import running_service
from holdfast.testing.signals import Gate
from tests.remote.answering import Answer, NoTime, Service, problem, told
from tests.remote.conftest import with_kinds

HELLO = "retry: 3000\n\n"
END = "event: end\ndata: {}\n\n"


def event(seq: int, kind: str = "progress") -> str:
    data = {"seq": seq, "type": kind, "at": "2026-11-27T09:00:00Z", "data": {"n": seq}}
    return f"id: {seq}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"


class Stream(httpx2.AsyncByteStream):
    """What a server sends until it is cut off, or forever."""

    def __init__(self, text: str, then: Exception | asyncio.Event | None) -> None:
        self._text = text
        self._then = then

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._text:
            yield self._text.encode()
        if isinstance(self._then, Exception):
            raise self._then
        if self._then is not None:
            await self._then.wait()


def stream(*parts: str, then: Exception | asyncio.Event | None = None) -> Answer:
    headers = {"Content-Type": "text/event-stream; charset=utf-8"}
    return lambda _: httpx2.Response(200, headers=headers, stream=Stream("".join(parts), then))


def page(*seqs: int) -> Answer:
    events = [{"seq": seq, "type": "progress", "at": "2026-11-27T09:00:00Z", "data": {}} for seq in seqs]
    return told(body={"events": events, "next_after": max(seqs, default=0)})


def job(status: str, **headers: str) -> Answer:
    return told(200, {**JOB, "status": status}, **headers)


async def seen(service: Service, after: int = 0) -> list[int]:
    return [event.seq async for event in service.client.events("j", after=after)]


CUT = httpx2.ReadError("cut")


async def test_stream_is_taken_up_again_behind_the_last_event():
    service = Service(
        stream(HELLO, event(1), event(2), then=CUT),
        stream(HELLO, event(3), then=None),
        stream(HELLO, event(4), END),
    )

    assert await seen(service) == [1, 2, 3, 4]
    assert [each.headers["Last-Event-ID"] for each in service.requests] == ["0", "2", "3"]


async def test_service_says_how_soon_to_come_back():
    service = Service(stream(HELLO, event(1), then=CUT), stream(HELLO, END))

    await seen(service)

    assert 1.5 <= service.clock.slept[0] <= 3


async def test_event_that_is_known_already_is_not_given_again():
    service = Service(stream(HELLO, event(1), event(1), event(2), END))

    assert await seen(service) == [1, 2]


@pytest.mark.parametrize("wrong", [event(3), "data: {}\n\n", "data: no json\n\n"])
async def test_connection_that_leaves_something_out_is_given_up(wrong: str):
    service = Service(stream(HELLO, event(1), wrong, END), stream(HELLO, event(2), event(3), END))

    assert await seen(service) == [1, 2, 3]


async def test_silence_for_too_long_is_a_cut(monkeypatch):
    service = Service(
        stream(HELLO, event(1), then=httpx2.ReadTimeout("no byte")), stream(HELLO, event(2), END)
    )

    assert await seen(service) == [1, 2]
    assert service.requests[0].extensions["timeout"]["read"] == SILENCE_SECONDS


async def test_refusal_in_the_middle_is_told():
    service = Service(stream(HELLO, event(1), then=CUT), problem(404, "job_not_found"))

    with pytest.raises(JobNotFoundError):
        await seen(service)


async def test_service_that_was_there_is_waited_for_for_minutes():
    service = Service(
        stream(HELLO, event(1), then=CUT),
        *[httpx2.ConnectError("refused")] * 8,
        stream(HELLO, event(2), END),
    )

    assert await seen(service) == [1, 2]
    assert sum(service.clock.slept) > 30


async def test_patience_has_an_end():
    service = Service(stream(HELLO, event(1), then=CUT), httpx2.ConnectError("refused"))

    with pytest.raises(ServiceUnavailableError, match="cannot be reached"):
        await seen(service)

    assert sum(service.clock.slept) < watching.PATIENCE_SECONDS + 61


async def test_service_that_was_never_there_is_not_waited_for():
    service = Service(httpx2.ConnectError("refused"))

    with pytest.raises(ServiceUnavailableError):
        await seen(service)

    assert sum(service.clock.slept) < 3


async def test_stream_that_ends_again_and_again_without_an_event_is_given_up():
    service = Service(stream(HELLO))

    with pytest.raises(ServiceUnavailableError, match="ends before the job has"):
        await seen(service)


async def test_connection_that_lasted_was_a_good_one():
    service = Service(stream(HELLO, then=CUT), stream(HELLO, event(1), END))
    times = iter([0.0, 60.0, 60.0, 60.0, 60.0])
    service.clock.monotonic = lambda: next(times, 60.0)  # type: ignore[method-assign]

    assert await seen(service) == [1]
    assert service.clock.slept[0] >= 1.5


async def test_service_that_asks_for_too_long_a_pause_is_not_waited_for():
    service = Service(problem(503, "store_unavailable", headers={"Retry-After": "900"}))

    with pytest.raises(HoldfastError) as caught:
        await seen(service)

    assert caught.value.code == "store_unavailable"


# polls ---------------------------------------------------------------------------------------


def html(_: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, html="<h1>no streams here</h1>")


@pytest.mark.parametrize(
    "blocked",
    [
        html,
        problem(503, "streams_full"),
        problem(429, "too_many_streams"),
        problem(422, "invalid_input"),
    ],
)
async def test_events_are_polled_where_streams_are_not_to_be_had(blocked: Answer):
    service = Service(
        blocked,
        *(job("running", **{"Retry-After": "5", "ETag": 'W/"1"'}), page(1, 2)),
        *(job("running", **{"Retry-After": "5", "ETag": 'W/"1"'}), page()),
        *(job("completed"), page(3)),
        *(job("completed"), page()),
    )

    assert await seen(service) == [1, 2, 3]
    assert service.clock.slept == [5.0]
    assert service.requests[3].headers["If-None-Match"] == 'W/"1"'
    assert [each.url.params.get("after") for each in service.requests[2::2]] == ["0", "2", "2", "3"]


async def test_stream_that_says_nothing_at_all_is_held_back_by_something(monkeypatch):
    monkeypatch.setattr(watching, "HELLO_SECONDS", 0.01)
    service = Service(stream(then=asyncio.Event()), job("completed"), page(1), job("completed"), page())

    assert await seen(service) == [1]


async def test_wait_polls_the_job_alone_where_streams_are_not_to_be_had():
    service = Service(
        job("running", **{"Retry-After": "2", "ETag": 'W/"1"'}),
        html,
        lambda _: httpx2.Response(304, headers={"Retry-After": "2"}),
        lambda _: httpx2.Response(304, headers={"Retry-After": "15"}),
        job("completed"),
    )

    ended = await service.client.wait("j")

    assert ended.status is JobStatus.COMPLETED
    assert service.clock.slept == [2.0, 15.0]
    assert all(request.url.path.endswith(("/j", "/stream")) for request in service.requests)


async def test_wait_looks_again_when_an_ended_job_was_retried_meanwhile():
    service = Service(
        job("running"), stream(HELLO, END), job("queued"), stream(HELLO, END), job("completed")
    )

    assert (await service.client.wait("j")).status is JobStatus.COMPLETED


# real connections ----------------------------------------------------------------------------


class Wire:
    """A TCP proxy to a service that moves, which cuts connections after so many bytes."""

    def __init__(self) -> None:
        self.upstream = 0
        self.bytes_max: int | None = None
        self.cuts = 0
        self._open: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.cut_all()
            await server.wait_closed()

    def cut_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
            self._open.add(up_writer)
            await asyncio.gather(
                self._pass_on(reader, up_writer, None), self._pass_on(up_reader, writer, self.bytes_max)
            )
        except OSError:
            writer.transport.abort()
        finally:
            self._open.discard(writer)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> None:
        while chunk := await reader.read(512):
            if left is not None:
                left -= len(chunk)
                if left < 0:
                    self.cuts += 1
                    self.cut_all()
                    raise ConnectionResetError
            writer.write(chunk)
            await writer.drain()
        writer.close()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def counts(job: Any) -> None:
    for number in range(200):
        job.emit("number.counted", number=number)
        await job.step(f"step/{number}", lambda: None)


async def test_every_event_comes_once_over_a_wire_that_is_cut_all_the_time(harness):
    harness.job("counts", counts)
    await harness.start_worker()
    wire = Wire()
    async with running_service(harness) as running, wire.running() as url:
        wire.upstream = port_of(running.url)
        async with Client(url, await running.key(), clock=NoTime()) as client:
            wire.bytes_max = 8_000
            job = await client.submit("counts")
            got = [event async for event in client.events(job.job_id)]

    assert wire.cuts > 3
    assert got == list(await harness.store.read_events(job.job_id, limit=1000))


async def test_every_event_comes_once_over_restarts_of_the_service(harness):
    gate = Gate()
    with_kinds(harness, gate)
    await harness.start_worker()
    wire = Wire()
    seqs: list[int] = []
    async with wire.running() as url, contextlib.AsyncExitStack() as services:
        first = await services.enter_async_context(running_service(harness))
        wire.upstream = port_of(first.url)
        key = await first.key()
        async with Client(url, key) as client:
            job = await client.submit("holds")
            await gate.reached.wait()
            async for event in client.events(job.job_id):
                seqs.append(event.seq)
                if event.type == "step.started":
                    await services.aclose()
                    second = await services.enter_async_context(running_service(harness))
                    wire.upstream = port_of(second.url)
                    gate.open()

    assert seqs == list(range(1, len(seqs) + 1))
    assert (await harness.store.get_job(job.job_id)).event_seq == len(seqs)
