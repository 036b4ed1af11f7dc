"""Whatever clients of streams send: an answer or a close, never a 5xx, never a traceback."""

import asyncio
import base64
import json
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.model import Event
from holdfast.server.feed import frame_of

BOUND = settings(max_examples=60, deadline=None)
CLOSES = {1000, 1002, 1003, 1005, 1007, 1008, 1009}

HEADER = st.binary(max_size=60).filter(lambda value: not set(value) & set(b"\r\n\0"))
FRAME = st.builds(
    lambda head, length, mask, payload: bytes([head, mask | length]) + payload,
    st.integers(0, 255),
    st.integers(0, 127),
    st.sampled_from([0x00, 0x80]),
    st.binary(max_size=40),
)


def frame(opcode: int, payload: bytes) -> bytes:
    """A frame as a client should send it, with a mask of zeros."""
    size = (
        bytes([0x80 | len(payload)])
        if len(payload) < 126
        else bytes([0x80 | 126]) + len(payload).to_bytes(2, "big")
    )
    return bytes([0x80 | opcode]) + size + bytes(4) + payload


WELL_FORMED = st.builds(frame, st.sampled_from([0, 1, 2, 8, 9, 10]), st.binary(max_size=200))
JSON_TEXT = st.builds(
    lambda value: frame(1, json.dumps(value).encode()),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=8,
    ),
)


async def run_examples(tries: Callable[[], None]) -> None:
    """Let hypothesis run in a thread; its examples are tried on this loop."""
    await asyncio.to_thread(tries)


def on(loop: asyncio.AbstractEventLoop, trial: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(trial, loop).result(10)


async def answer_of(port: int, request: bytes, *after: bytes) -> bytes:
    """Everything that the server says until it closes; the client sends what it has and no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    if after:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"".join(after))
        writer.write_eof()
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def close_code_of(said: bytes) -> int | None:
    """The code of the close frame among the server's frames; None if there is none."""
    while len(said) >= 2:
        opcode, size, start = said[0] & 0x0F, said[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(said[2:4], "big"), 4
        payload = said[start : start + size]
        if opcode == 8:
            return int.from_bytes(payload[:2], "big") if payload else 1005
        said = said[start + size :]
    return None


@pytest.fixture
async def job_id(harness) -> str:
    found: str = await harness.submit("greet", "ada")
    return found


async def test_whatever_is_asked_of_a_stream_is_answered(running, harness, job_id, caplog):
    await harness.start_worker()
    await harness.end_of(job_id)
    key, port, loop = (
        await running.key(),
        int(running.url.rpartition(":")[2]),
        asyncio.get_running_loop(),
    )

    @given(
        path=st.just(job_id) | st.text(max_size=20),
        query=st.lists(
            st.tuples(st.sampled_from(["after", "token", "limit", "x"]), st.text(max_size=30)),
            max_size=3,
        ),
        known=st.none() | HEADER | st.integers().map(lambda value: str(value).encode()),
        bearer=st.just(key.encode()) | HEADER,
        resource=st.sampled_from(["stream", "events", "ws"]),
    )
    @example(path=job_id, query=[], known=b"", bearer=key.encode(), resource="stream")
    @example(path="\0", query=[("after", "\0")], known=None, bearer=key.encode(), resource="events")
    @BOUND
    def tries(path, query, known, bearer, resource):
        asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in query)
        request = f"GET /api/v1/jobs/{quote(path, safe='')}/{resource}?{asked} HTTP/1.1\r\n".encode()
        request += b"host: 127.0.0.1\r\nconnection: close\r\nauthorization: Bearer %b\r\n" % bearer
        request += b"last-event-id: %b\r\n\r\n" % known if known is not None else b"\r\n"
        status = int(on(loop, answer_of(port, request)).split(b" ")[1])
        assert 200 <= status < 500

    await run_examples(tries)

    assert [record for record in caplog.records if record.exc_info] == []


async def test_whatever_is_sent_over_a_websocket_is_survived(running, harness, job_id, caplog):
    key, port, loop = (
        await running.key(),
        int(running.url.rpartition(":")[2]),
        asyncio.get_running_loop(),
    )
    handshake = (
        f"GET /api/v1/jobs/{job_id}/ws HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\n"
        f"upgrade: websocket\r\nsec-websocket-version: 13\r\nauthorization: Bearer {key}\r\n"
        f"sec-websocket-key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
    ).encode()

    @given(st.lists(FRAME | WELL_FORMED | JSON_TEXT | st.binary(max_size=20), min_size=1, max_size=6))
    @example([frame(1, b"\xff\xfe")])
    @example([frame(1, b"{}"), frame(8, b"\x03")])
    @example([frame(0, b"x"), frame(1, b"{}")])
    @BOUND
    def tries(sent):
        code = close_code_of(on(loop, answer_of(port, handshake, *sent)))
        assert code is None or code in CLOSES or 3000 <= code < 5000

    await run_examples(tries)

    assert [record for record in caplog.records if record.exc_info] == []
    async with running.http(key) as http:
        assert (await http.get(f"/api/v1/jobs/{job_id}/events")).status_code == 200


FIELDS = st.dictionaries(
    st.text(max_size=5), st.none() | st.text(max_size=30) | st.integers(-(2**53), 2**53), max_size=4
)


@given(FIELDS, st.integers(1, 2**62))
@example({"text": "a\nb\r\nc\u2028d\0"}, 1)
def test_event_of_any_content_is_one_block(fields, seq):
    """No text that a model writes can end a block early or begin another."""
    data = msgspec.json.encode(fields)
    event = Event(job_id="j", seq=seq, type="a.b", data=data, at=datetime(2030, 1, 1, tzinfo=UTC))

    sent = frame_of(event)

    # Lines as the standard has them: by CR, LF or both.
    lines = sent.sse.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    assert lines[:2] == [b"id: %d" % seq, b"event: a.b"]
    assert lines[3:] == [b"", b""]
    assert json.loads(lines[2].removeprefix(b"data: "))["data"] == fields
    assert lines[2] == b"data: " + sent.json
