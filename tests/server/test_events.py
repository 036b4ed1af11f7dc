"""A job's events by pages and live."""

import asyncio
import json
from datetime import timedelta

import pytest

from holdfast.metrics import STREAMS_OPEN
from holdfast.server.access import Action
from holdfast.testing.service import running_service
from holdfast.testing.signals import PATIENCE_SECONDS, eventually
from holdfast.testing.sse import Sent, opened_stream


async def all_of(http, job_id: str, **headers: str) -> list[Sent]:
    """Everything that a stream sends until it ends."""
    async with asyncio.timeout(PATIENCE_SECONDS), opened_stream(http, job_id, **headers) as stream:
        return [sent async for sent in stream]


def numbers(stream: list[Sent]) -> list[int]:
    return [sent.data["seq"] for sent in stream if sent.id]


async def test_stream_sends_every_event_as_it_is_stored_and_ends_with_the_job(running, harness):
    job_id = await harness.submit("greet", "ada")
    await harness.start_worker()

    async with running.http(await running.key()) as http:
        stream = await all_of(http, job_id)

    stored = await harness.store.read_events(job_id)
    assert [sent.data for sent in stream if sent.id] == [
        {
            "seq": event.seq,
            "type": event.type,
            "at": event.at.isoformat().replace("+00:00", "Z"),
            "data": json.loads(event.data),
        }
        for event in stored
    ]
    assert [(int(sent.id), sent.event) for sent in stream if sent.id] == [
        (event.seq, event.type) for event in stored
    ]
    assert (stream[0].retry, stream[-1].event) == (1_000, "end")


async def test_stream_tells_proxies_to_pass_it_on(running, harness):
    job_id = await harness.submit("greet", "ada")
    await harness.start_worker()

    async with running.http(await running.key()) as http:
        answer = await http.get(f"/api/v1/jobs/{job_id}/stream")

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize("known", [0, 1, 3])
async def test_stream_goes_on_after_what_the_client_has(running, harness, known):
    job_id = await harness.submit("greet", "ada")
    await harness.start_worker()
    end = (await harness.end_of(job_id)).event_seq

    async with running.http(await running.key()) as http:
        by_header = await all_of(http, job_id, **{"Last-Event-ID": str(known)})
        by_query = await http.get(f"/api/v1/jobs/{job_id}/stream?after={known}")

    assert numbers(by_header) == list(range(known + 1, end + 1))
    assert by_query.text.count("\nid: ") == end - known


async def test_last_event_id_wins_over_the_query(running, harness):
    """A browser reconnects with the URL of the first time, and the header."""
    job_id = await harness.submit("greet", "ada")
    await harness.start_worker()
    end = (await harness.end_of(job_id)).event_seq

    async with running.http(await running.key()) as http:
        url = f"/api/v1/jobs/{job_id}/stream?after=1"
        answer = await http.get(url, headers={"Last-Event-ID": str(end)})

    assert "\nid: " not in answer.text
    assert "event: end" in answer.text


@pytest.mark.parametrize(
    "given", ["", "-1", "x", "1.0", "٣", "9" * 40, "1e3", "0x1", "99"], ids=lambda given: given[:5]
)
async def test_last_event_id_that_is_none_is_refused(running, harness, given):
    job_id = await harness.submit("greet", "ada")

    async with running.http(await running.key()) as http:
        answer = await http.get(
            f"/api/v1/jobs/{job_id}/stream", headers={"Last-Event-ID": given.encode()}
        )

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_page_of_events_goes_on_where_the_last_one_ended(running, harness):
    job_id = await harness.submit("greet", "ada")
    await harness.start_worker()
    end = (await harness.end_of(job_id)).event_seq

    async with running.http(await running.key()) as http:
        url = f"/api/v1/jobs/{job_id}/events"
        first = (await http.get(f"{url}?limit=2")).json()
        rest = (await http.get(f"{url}?after={first['next_after']}")).json()
        none = (await http.get(f"{url}?after={rest['next_after']}")).json()

    assert [event["seq"] for event in first["events"] + rest["events"]] == list(range(1, end + 1))
    assert none == {"events": [], "next_after": end}


async def test_page_of_events_can_be_of_some_types(running, harness):
    job_id = await harness.submit("greet", "ada")

    async with running.http(await running.key()) as http:
        url = f"/api/v1/jobs/{job_id}/events"
        queued = (await http.get(f"{url}?type=job.queued&type=job.failed")).json()
        others = (await http.get(f"{url}?type=job.failed")).json()

    assert [event["type"] for event in queued["events"]] == ["job.queued"]
    assert others == {"events": [], "next_after": 0}


@pytest.mark.parametrize("path", ["events", "stream"])
async def test_events_are_for_those_who_may_see_content(running, harness, path):
    job_id = await harness.submit("greet", "ada", tenant="mine")
    others = await harness.submit("greet", "ada", tenant="other")

    async with running.http() as http:
        nobody = await http.get(f"/api/v1/jobs/{job_id}/{path}")
    async with running.http(await running.key(Action.READ)) as http:
        reader = await http.get(f"/api/v1/jobs/{job_id}/{path}")
    async with running.http(await running.key(tenant="mine")) as http:
        stranger = await http.get(f"/api/v1/jobs/{others}/{path}")

    assert (nobody.status_code, reader.status_code, stranger.status_code) == (401, 403, 404)


async def test_quiet_stream_sends_comments(harness):
    job_id = await harness.submit("greet", "ada")
    comments: list[str] = []

    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        running_service(harness, heartbeat_seconds=0.01, open_access=True) as running,
        running.http() as http,
        opened_stream(http, job_id) as stream,
    ):
        while len(comments) < 3:
            sent = await anext(stream)
            comments += [sent.comment] if sent.comment else []

    assert comments == ["still here"] * 3


async def test_stream_breaks_off_when_the_service_closes(harness):
    """Without `end`, so that the client comes back and finds another server."""
    job_id = await harness.submit("greet", "ada")

    async with (
        running_service(harness, open_access=True) as running,
        running.http() as http,
        opened_stream(http, job_id) as stream,
    ):
        seen = [await anext(stream) for _ in range(2)]
        running.service.closing.set()
        seen += [sent async for sent in stream]

    assert [sent.event for sent in seen] == ["message", "job.queued"]


async def test_stream_ends_soon_after_its_key_was_revoked(harness):
    job_id = await harness.submit("greet", "ada")

    async with running_service(harness, heartbeat_seconds=0.01, recheck_seconds=0) as running:
        key = await running.key()
        async with running.http(key) as http, opened_stream(http, job_id) as stream:
            await anext(stream)
            await running.service.records.revoke_key(key.rpartition("_")[0], harness.clock.now())
            rest = [sent async for sent in stream]

    assert "end" not in [sent.event for sent in rest]


async def test_stream_ends_soon_after_its_token_has_expired(harness):
    job_id = await harness.submit("greet", "ada")

    async with running_service(harness, heartbeat_seconds=0.01, recheck_seconds=0) as running:
        token = running.service.tokens.for_job(job_id, timedelta(seconds=2))
        async with running.http(token) as http, opened_stream(http, job_id) as stream:
            rest = [sent async for sent in stream]

    assert "end" not in [sent.event for sent in rest]


async def test_one_stream_too_many_is_refused(harness):
    job_id = await harness.submit("greet", "ada")

    async with running_service(harness, streams_max=2, client_streams_max=1) as running:
        one, two, three = [await running.key() for _ in range(3)]
        async with running.http(one) as http, opened_stream(http, job_id):
            again = await http.get(f"/api/v1/jobs/{job_id}/stream")
            async with (
                running.http(two) as http,
                opened_stream(http, job_id),
                running.http(three) as http,
            ):
                full = await http.get(f"/api/v1/jobs/{job_id}/stream")

    assert (again.status_code, again.json()["code"]) == (429, "too_many_streams")
    assert (full.status_code, full.json()["code"]) == (503, "streams_full")
    assert full.headers["retry-after"] == again.headers["retry-after"] == "5"


async def test_stream_that_has_ended_leaves_its_place(harness):
    job_id = await harness.submit("greet", "ada")
    await harness.start_worker()

    async with (
        running_service(harness, streams_max=1, open_access=True) as running,
        running.http() as http,
    ):
        for _ in range(3):
            assert (await all_of(http, job_id))[-1].event == "end"


async def test_client_that_goes_away_leaves_its_place(harness):
    job_id = await harness.submit("greet", "ada")
    before = STREAMS_OPEN._value.get()

    async with (
        running_service(harness, streams_max=1, open_access=True) as running,
        running.http() as http,
    ):
        for _ in range(3):
            async with opened_stream(http, job_id) as stream:
                await anext(stream)
                assert STREAMS_OPEN._value.get() == before + 1
            await eventually(lambda: STREAMS_OPEN._value.get() == before)


async def test_type_of_events_that_no_database_can_hold_is_refused(http, harness):
    job_id = await harness.submit("greet", "ada")

    answer = await http.get(f"/api/v1/jobs/{job_id}/events", params={"type": "a\0b"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
