"""Bodies that are too large."""

import asyncio
import json
from urllib.parse import urlsplit

from starlette.requests import Request

from holdfast.server.body_limit import BodyLimit
from holdfast.testing.service import running_service

LIMIT = 4_096
JOBS = "/api/v1/jobs"


async def test_body_that_says_it_is_too_large_is_refused_unread(harness):
    async with running_service(harness, body_bytes_max=LIMIT) as running:
        place = urlsplit(running.url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        key = await running.key()
        head = (
            f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {LIMIT + 1}\r\n\r\n"
        )
        writer.write(head.encode())

        status = await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert status.startswith(b"HTTP/1.1 413 ")


async def test_body_that_does_not_say_is_refused_once_it_is_too_large(harness):
    async def chunks():
        yield b'{"kind":"greet","input":"'
        for _ in range(8):
            yield b"a" * 1_000
        yield b'"}'

    async with (
        running_service(harness, body_bytes_max=LIMIT) as running,
        running.http(await running.key()) as http,
    ):
        answer = await http.post(JOBS, content=chunks(), headers={"Content-Type": "application/json"})
        after = await http.get(JOBS)

    assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")
    assert f"{LIMIT:,} bytes" in answer.json()["detail"]
    assert after.json()["jobs"] == []


async def test_body_of_just_that_size_is_taken(harness):
    async with running_service(harness, body_bytes_max=LIMIT) as running:
        frame = '{"kind":"greet","input":"%s"}'
        body = frame % ("a" * (LIMIT - len(frame) + 2))
        async with running.http(await running.key()) as http:
            answer = await http.post(
                JOBS, content=body.encode(), headers={"Content-Type": "application/json"}
            )

    assert len(body) == LIMIT
    assert answer.status_code == 202


async def test_body_that_stops_coming_is_answered_and_not_waited_for():
    sent, bodies = [], [{"type": "http.request", "body": b"half", "more_body": True}]

    async def receive():
        if not bodies:
            await asyncio.Event().wait()
        return bodies.pop()

    async def send(message):
        sent.append(message)

    async def app(scope, receive, send):
        await Request(scope, receive).body()

    scope = {"type": "http", "method": "POST", "headers": [], "http_version": "1.1"}
    await BodyLimit(app, bytes_max=LIMIT, silent_seconds=0.01)(scope, receive, send)

    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["code"] == "request_timeout"


async def test_complete_body_is_under_no_deadline():
    gone = asyncio.get_running_loop().create_future()
    messages = [{"type": "http.request", "body": b"all", "more_body": False}]
    seen = []

    async def receive():
        return messages.pop() if messages else await gone

    async def send(_):
        raise AssertionError

    async def app(_, receive, __):
        seen.append(await receive())
        # With a deadline of nothing, waiting at all would be too long.
        asyncio.get_running_loop().call_later(0, gone.set_result, {"type": "http.disconnect"})
        seen.append(await receive())

    scope = {"type": "http", "method": "POST", "headers": []}
    await BodyLimit(app, bytes_max=LIMIT, silent_seconds=1e-9)(scope, receive, send)

    assert [message["type"] for message in seen] == ["http.request", "http.disconnect"]
