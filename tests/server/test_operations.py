"""What operators ask over HTTP."""

from datetime import timedelta
from decimal import Decimal

import pytest

from holdfast.model import CallStatus
from holdfast.server.access import Action
from holdfast.store.base import CallIntent, CallOutcome, ClaimRequest, LaneRequest
from holdfast.testing.store_suite.support import worker

PATHS = ("/queues", "/workers", "/lanes", "/spend")


async def get(running, path: str, key: str | None, **options):
    async with running.http(key) as http:
        return await http.get(f"/api/v1{path}", **options)


@pytest.mark.parametrize("path", PATHS)
async def test_others_are_refused(running, path):
    key = await running.key(*(set(Action) - {Action.ADMIN}))

    assert (await get(running, path, key)).status_code == 403
    assert (await get(running, path, None)).status_code == 401


async def test_queue_tells_its_depth_and_its_oldest(running, harness):
    first = await harness.store.get_job(await harness.submit("greet", "ada"))
    await harness.submit("greet", "grace", delay=timedelta(hours=1))

    answer = await get(running, "/queues", await running.key())

    (queue,) = answer.json()["queues"]
    assert (queue["queue"], queue["ready"], queue["delayed"], queue["running"]) == ("greet", 1, 1, 0)
    assert queue["oldest_at"] == first.created_at.isoformat().replace("+00:00", "Z")


async def test_worker_tells_slots_and_heartbeat(running, harness):
    started = await harness.start_worker(slots=7)

    answer = await get(running, "/workers", await running.key())

    (told,) = answer.json()["workers"]
    assert (told["worker_id"], told["slots"], told["queues"]) == (started.worker_id, 7, None)
    assert told["heartbeat_at"] < told["expires_at"]


async def test_lane_tells_limits_and_use(running, harness):
    request = LaneRequest(
        lane="p:m", tokens=100, requests_per_minute=60, tokens_per_minute=6_000, burst_seconds=10
    )
    await harness.store.take_lane(request)

    answer = await get(running, "/lanes", await running.key())

    (lane,) = answer.json()["lanes"]
    assert (lane["lane"], lane["requests_per_minute"], lane["tokens_room"]) == ("p:m", 60, 1_000)
    assert 900 <= lane["tokens_free"] <= 1_000


async def spend(harness, usd: str, tenant: str) -> None:
    store = harness.real_store
    job_id = await harness.submit("greet", "ada", tenant=tenant)
    store.beat(worker("w1"), first=True)
    (claim,) = await store.claim_jobs(ClaimRequest(worker_id="w1", kinds=("greet",), job_id=job_id))
    money = Decimal(usd)
    intent = CallIntent(
        call_id="c", step_key="s", step_attempt=1, provider="p", model="m", reserved_tokens=9,
        reserved_usd=money,
    )  # fmt: skip
    await store.reserve_call(claim.lease, intent)
    await store.settle_call(
        claim.lease, "c", CallOutcome(status=CallStatus.SETTLED, input_tokens=5, usd=money)
    )


async def test_spend_is_summed_for_everybody_or_for_the_keys_tenant(running, harness):
    await spend(harness, "0.25", "mine")
    await spend(harness, "2.50", "other")

    all_of_it = await get(running, "/spend", await running.key(), params={"by": "model"})
    mine = await get(running, "/spend", await running.key(tenant="mine"), params={"by": "tenant"})
    none = await get(running, "/spend", await running.key(kinds=["other"]))

    (row,) = all_of_it.json()["spend"]
    assert (row["name"], row["calls"], Decimal(row["usd"])) == ("m", 2, Decimal("2.75"))
    assert [(row["name"], row["usd"]) for row in mine.json()["spend"]] == [("mine", "0.25")]
    assert none.json()["spend"] == []


@pytest.mark.parametrize(
    "params",
    [
        {"bucket": 1},
        {"bucket": 0},
        {"by": "colour"},
        {"since": "2026-01-01"},
        {"since": "2020-01-01T00:00:00Z"},
        {"until": "0001-01-01T00:00:00Z"},
        {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
    ],
)
async def test_unreasonable_question_for_spend_is_refused(running, params):
    answer = await get(running, "/spend", await running.key(), params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
