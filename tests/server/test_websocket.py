"""A job's events over a WebSocket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from holdfast.model import JobStatus
from holdfast.server.access import Action
from holdfast.server.auth import SESSION_COOKIE, session_of
from holdfast.testing.service import RunningService, running_service
from holdfast.testing.signals import PATIENCE_SECONDS


@contextlib.asynccontextmanager
async def opened_socket(
    running: RunningService, job_id: str, key: str = "", query: str = "", **headers: str
) -> AsyncIterator[ClientConnection]:
    url = f"{running.url.replace('http', 'ws')}/api/v1/jobs/{job_id}/ws{query}"
    if key:
        headers["authorization"] = f"Bearer {key}"
    async with asyncio.timeout(PATIENCE_SECONDS), connect(url, additional_headers=headers) as socket:
        yield socket


async def closed_with(socket: ClientConnection) -> int | None:
    """The code that the server closes with, after whatever it sends before."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await socket.recv()
    return socket.close_code


async def session_cookie(running: RunningService, key: str) -> str:
    kept = await running.service.records.find_key(key.rpartition("_")[0])
    assert kept is not None
    return f"{SESSION_COOKIE}={session_of(running.service, kept, timedelta(hours=1))}"


async def test_socket_sends_every_event_and_closes_with_the_job(running, harness):
    job_id = await harness.submit("greet", "ada")
    await harness.start_worker()

    async with opened_socket(running, job_id, await running.key()) as socket:
        told = [json.loads(message) async for message in socket]

    stored = await harness.store.read_events(job_id)
    assert [(each["seq"], each["type"]) for each in told] == [(each.seq, each.type) for each in stored]
    assert socket.close_code == 1000


async def test_socket_goes_on_after_what_the_client_has(running, harness):
    job_id = await harness.submit("greet", "ada")
    await harness.start_worker()
    end = (await harness.end_of(job_id)).event_seq

    async with opened_socket(running, job_id, await running.key(), "?after=2") as socket:
        told = [json.loads(message)["seq"] async for message in socket]

    assert told == list(range(3, end + 1))


async def test_client_cancels_the_job(running, harness):
    job_id = await harness.submit("greet", "ada")

    async with opened_socket(running, job_id, await running.key()) as socket:
        await socket.send('{"type": "cancel"}')
        told = [json.loads(message)["type"] async for message in socket]

    assert (await harness.client.get(job_id)).status is JobStatus.CANCELLED
    assert told == ["job.queued", "job.cancel_requested", "job.cancelled"]


async def test_cancel_needs_the_action(running, harness):
    job_id = await harness.submit("greet", "ada")
    token = running.service.tokens.for_job(job_id)

    async with opened_socket(running, job_id, query=f"?token={token}") as socket:
        await socket.recv()
        await socket.send('{"type": "cancel"}')
        told = json.loads(await socket.recv())

    assert (told["type"], told["code"]) == ("error", "access_denied")
    assert (await harness.client.get(job_id)).status is JobStatus.QUEUED


async def test_refusals_tell_why_they_close(running, harness):
    job_id = await harness.submit("greet", "ada", tenant="mine")
    seeing = await running.key()
    tries = [
        (job_id, "", "", 4401),
        (job_id, await running.key(Action.READ), "", 4403),
        (job_id, await running.key(tenant="other"), "", 4404),
        ("job_none", seeing, "", 4404),
        (job_id, seeing, "?after=x", 4422),
        (job_id, seeing, "?after=99", 4422),
    ]

    codes = []
    for path, key, query, _ in tries:
        async with opened_socket(running, path, key, query) as socket:
            codes.append(await closed_with(socket))

    assert codes == [code for *_, code in tries]


async def test_socket_closes_when_the_service_does(running, harness):
    job_id = await harness.submit("greet", "ada")

    async with opened_socket(running, job_id, await running.key()) as socket:
        await socket.recv()
        running.service.closing.set()
        code = await closed_with(socket)

    assert code == 1012


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("https://evil.example", 4403),
        ("null", 4403),
        ("https://shop.example", None),
        ("https://holdfast.example", None),
        ("own", None),
        (None, None),
    ],
)
async def test_a_page_of_another_site_gets_nothing_by_the_cookie(harness, origin, code):
    job_id = await harness.submit("greet", "ada")
    options: dict[str, Any] = {
        "cors_origins": ("https://shop.example",),
        "public_url": "https://holdfast.example/jobs",
    }

    async with running_service(harness, **options) as running:
        headers = {"cookie": await session_cookie(running, await running.key())}
        if origin is not None:
            headers["origin"] = running.url if origin == "own" else origin
        async with opened_socket(running, job_id, **headers) as socket:
            with contextlib.suppress(ConnectionClosed):
                assert json.loads(await socket.recv())["type"] == "job.queued"

    assert socket.close_code == (code or 1000)


async def test_a_page_of_another_site_may_bring_a_key_of_its_own(running, harness):
    job_id = await harness.submit("greet", "ada")
    token = running.service.tokens.for_job(job_id)

    async with opened_socket(
        running, job_id, query=f"?token={token}", origin="https://shop.example"
    ) as socket:
        told = json.loads(await socket.recv())

    assert told["type"] == "job.queued"


async def test_open_access_is_not_for_pages_of_other_sites(harness):
    job_id = await harness.submit("greet", "ada")

    async with running_service(harness, open_access=True) as running:
        async with opened_socket(running, job_id, origin="https://evil.example") as socket:
            evil = await closed_with(socket)
        async with opened_socket(running, job_id, origin="http://localhost:3000") as socket:
            local = json.loads(await socket.recv())

    assert (evil, local["type"]) == (4401, "job.queued")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "hello",
        "null",
        "[]",
        "{}",
        '{"type": "erase"}',
        '{"type": 7}',
        '{"type": "cancel"',
        "[" * 60_000,
        '{"type": "cancel", "a": ' + "[" * 60_000,
        b"\x00\xff",
        b'{"type": "cancel"}',
    ],
    ids=lambda message: repr(message[:12]),
)
async def test_message_that_is_not_understood_is_answered(running, harness, message):
    job_id = await harness.submit("greet", "ada")

    async with opened_socket(running, job_id, await running.key()) as socket:
        await socket.recv()
        await socket.send(message)
        told = json.loads(await socket.recv())

    assert (told["type"], told["code"]) == ("error", "invalid_input")
    assert (await harness.client.get(job_id)).status is JobStatus.QUEUED


async def test_message_that_is_too_large_closes(running, harness):
    job_id = await harness.submit("greet", "ada")

    async with opened_socket(running, job_id, await running.key()) as socket:
        await socket.send("x" * 70_000)
        code = await closed_with(socket)

    assert code == 1009


async def test_text_that_is_no_utf_8_closes_without_a_traceback(running, harness, caplog):
    job_id = await harness.submit("greet", "ada")

    async with opened_socket(running, job_id, await running.key()) as socket:
        # The client's own `send` would not let it out.
        frame = Frame(Opcode.TEXT, b"\xff\xfe")
        socket.transport.write(frame.serialize(mask=True))
        code = await closed_with(socket)

    assert code == 1007
    assert [record for record in caplog.records if record.exc_info] == []


async def test_client_that_says_too_much_is_closed(running, harness):
    job_id = await harness.submit("greet", "ada")

    async with opened_socket(running, job_id, await running.key()) as socket:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(200):
                await socket.send("again")
        code = await closed_with(socket)

    assert code == 1008


async def test_tokens_in_urls_are_not_logged(running, harness, caplog):
    caplog.set_level("DEBUG", "holdfast")
    job_id = await harness.submit("greet", "ada")
    token = running.service.tokens.for_job(job_id)

    async with opened_socket(running, job_id, query=f"?token={token}") as socket:
        await socket.recv()

    assert token not in caplog.text
