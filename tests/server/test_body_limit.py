"""Bodies that are too large."""

import asyncio
from urllib.parse import urlsplit

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
