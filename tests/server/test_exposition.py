"""`/metrics` of the service: this process, and the fleet as the store knows it."""

import re
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast import JobContext
from holdfast.errors import StoreUnavailableError
from holdfast.model import JobStatus
from holdfast.server import fleet
from holdfast.server.access import Action
from holdfast.store.base import LaneAdjustment, LaneRequest
from holdfast.testing.service import running_service


async def sleeps(job: JobContext) -> None:
    await job.sleep("nap", timedelta(hours=1))


@pytest.fixture
async def metrics(running):
    """Read the metrics as an admin; nothing is kept from one reading to the next."""
    key = await running.key(Action.ADMIN)

    async def read() -> dict[tuple[str, ...], float]:
        running.service.fleet._good_until = 0.0
        async with running.http(key) as http:
            answer = await http.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    return read


async def test_metrics_are_for_admins(running):
    async with running.http() as http:
        assert (await http.get("/metrics")).status_code == 401
    async with running.http(await running.key(Action.READ)) as http:
        assert (await http.get("/metrics")).status_code == 403


async def test_metrics_are_open_where_access_is(harness):
    async with running_service(harness, open_access=True) as running, running.http() as http:
        assert (await http.get("/metrics")).status_code == 200


async def test_queues_tell_what_waits_and_for_how_long(running, harness, metrics):
    harness.job("naps", sleeps)
    await harness.submit("greet", "ada")
    await harness.submit("greet", "ada", queue="slow", delay=timedelta(hours=1))
    nap = await harness.submit("naps")

    before = await metrics()
    worker = await harness.start_worker(queues=("naps",))
    await harness.until(nap, JobStatus.SUSPENDED)
    after = await metrics()
    await worker.drain()

    assert before["holdfast_store_up",] == 1
    assert before["holdfast_queue_jobs", "greet", "ready"] == 1
    assert before["holdfast_queue_jobs", "slow", "delayed"] == 1
    assert before["holdfast_queue_jobs", "slow", "ready"] == 0
    assert before["holdfast_queue_workers", "naps"] == 0
    assert 0 < before["holdfast_queue_oldest_seconds", "greet"] < 60
    assert before["holdfast_queue_oldest_seconds", "slow"] == 0
    assert after["holdfast_queue_jobs", "naps", "suspended"] == 1
    assert after["holdfast_queue_workers", "naps"] == 1
    assert after["holdfast_queue_workers", "greet"] == 0
    assert (before["holdfast_workers_alive",], after["holdfast_workers_alive",]) == (0, 1)
    assert after["holdfast_fleet_slots",] == 100


async def test_queue_without_jobs_is_forgotten(running, harness, metrics):
    job_id = await harness.submit("greet", "ada")
    assert ("holdfast_queue_jobs", "greet", "ready") in await metrics()

    await harness.client.cancel(job_id)

    assert ("holdfast_queue_jobs", "greet", "ready") not in await metrics()


async def test_lanes_tell_whether_they_are_held(running, harness, metrics):
    request = LaneRequest(
        lane="openai/gpt",
        requests_per_minute=10,
        tokens_per_minute=100,
        burst_seconds=60,
        tokens=1,
        asker="a",
    )
    await harness.store.take_lane(request)
    assert (await metrics())["holdfast_lane_held", "openai/gpt"] == 0

    await harness.store.adjust_lane(
        LaneAdjustment(lane="openai/gpt", hold_seconds=60, hold_reason="quota")
    )

    found = await metrics()
    assert found["holdfast_lane_held", "openai/gpt"] == 1
    assert found["holdfast_lane_paused", "openai/gpt"] == 0


async def test_store_that_does_not_answer_is_told_and_nothing_is_made_up(running, metrics, monkeypatch):
    async def away(_):
        raise StoreUnavailableError("the store cannot be reached")

    monkeypatch.setattr(running.service.records, "list_queues", away, raising=False)

    found = await metrics()

    assert found["holdfast_store_up",] == 0
    assert found["holdfast_workers_alive",] != found["holdfast_workers_alive",]  # not a number
    assert "holdfast_jobs_running" in {name for name, *_ in found}


async def test_requests_are_measured_by_route(running, harness, metrics):
    job_id = await harness.submit("greet", "ada")
    name, route = "http_server_request_duration_seconds_count", "/api/v1/jobs/{job_id}"
    before = await metrics()

    async with running.http(await running.key()) as http:
        await http.get(f"/api/v1/jobs/{job_id}?after=0")
        await http.get("/no/such/place")
        await http.request("PROPFIND", "/no/such/place")
    after = await metrics()

    def grown(*labels: str):
        return after.get((name, *labels), 0) - before.get((name, *labels), 0)

    assert grown("GET", "200", route) == 1
    assert grown("GET", "404", "unmatched") == 1
    assert grown("_OTHER", "404", "unmatched") == 1
    assert after["http_server_active_requests", "GET"] == 1  # this very request


async def test_no_label_holds_an_id(running, harness, metrics):
    job_id = await harness.submit("greet", "ada", tenant="tenant-of-ada")
    async with running.http(await running.key()) as http:
        await http.get(f"/api/v1/jobs/{job_id}")
        await http.get(f"/api/v1/elsewhere/{job_id}")

    labels = {value for _, *values in await metrics() for value in values}

    assert [value for value in labels if re.search(r"job_[0-9A-Z]{26}|tenant-of-ada", value)] == []


# queues that anybody may name --------------------------------------------------------------------


async def test_queues_beyond_a_number_are_told_as_one(running, harness, metrics, monkeypatch):
    monkeypatch.setattr(fleet, "QUEUES_SHOWN_MAX", 2)
    for number in range(5):
        await harness.submit("greet", "ada", queue=f"queue-{number}")
    await harness.submit("greet", "ada", queue="queue-4")

    found = await metrics()
    shown = {labels[0] for name, *labels in found if name == "holdfast_queue_jobs"}

    assert len(shown) == 3
    assert found["holdfast_queue_jobs", "queue-4", "ready"] == 2
    assert found["holdfast_queue_jobs", "others", "ready"] == 3


# how seldom it is looked -------------------------------------------------------------------------


async def test_store_is_asked_once_within_seconds(running, monkeypatch):
    asked = []
    look = running.service.records.list_queues

    async def counted(at):
        asked.append(at)
        return await look(at)

    monkeypatch.setattr(running.service.records, "list_queues", counted, raising=False)
    watch, service = running.service.fleet, running.service

    for _ in range(5):
        await watch.look(service.records, service.clock)

    assert len(asked) == 1
