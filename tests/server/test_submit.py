"""POST /jobs: what is accepted, and what is answered to what is not."""

from datetime import timedelta
from decimal import Decimal

import pytest

from holdfast import Budget
from holdfast.model import Concurrency, JobStatus
from holdfast.server.access import Action
from tests.server.conftest import greet

JOBS = "/api/v1/jobs"
TOPIC = {"kind": "report", "input": {"title": "tides"}}


async def test_accepted_job_is_stored_and_its_place_is_told(http, harness):
    answer = await http.post(JOBS, json=TOPIC)

    job = await harness.store.get_job(answer.json()["job_id"])
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{JOBS}/{job.job_id}"
    assert (job.kind, job.status, job.input) == (
        "report",
        JobStatus.QUEUED,
        b'{"title":"tides","pages":1}',
    )
    assert (await http.get(answer.headers["location"])).json()["input"] == {"title": "tides", "pages": 1}


async def test_every_option_reaches_the_job(http, harness):
    harness.job("slow", greet, concurrency=Concurrency(limit=2))
    asked = {
        "kind": "slow",
        "input": "ada",
        "queue": "bulk",
        "priority": -3,
        "tenant": "shop",
        "subject": "u_1",
        "budget_usd": "1.25",
        "budget_tokens": 900,
        "concurrency_key": "k",
        "delay_seconds": 60,
    }

    answer = await http.post(JOBS, json=asked)

    job = await harness.store.get_job(answer.json()["job_id"])
    assert (job.queue, job.priority, job.tenant, job.subject) == ("bulk", -3, "shop", "u_1")
    assert (job.budget, job.concurrency_key) == (Budget(usd="1.25", tokens=900), "k")
    assert job.available_at - job.created_at == timedelta(seconds=60)


async def test_limit_that_is_not_given_is_the_kinds_and_null_takes_it_away(http, harness):
    harness.job("costly", greet, budget=Budget(usd="2", tokens=100))

    async def budget_of(**given: object) -> tuple[Decimal | None, int | None]:
        answer = await http.post(JOBS, json={"kind": "costly", "input": "ada", **given})
        budget = (await harness.store.get_job(answer.json()["job_id"])).budget
        return budget.usd, budget.tokens

    assert await budget_of() == (Decimal(2), 100)
    assert await budget_of(budget_usd="0.5") == (Decimal("0.5"), 100)
    assert await budget_of(budget_tokens=None) == (Decimal(2), None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "report", "input": {"title": 3}}, "title"),
        ({"kind": "report", "input": {"title": "x", "pages": "many"}}, "pages"),
        ({"kind": "report"}, "report"),
        ({"input": 1}, "kind"),
        ({**TOPIC, "priority": 10**30}, "priority"),
        ({**TOPIC, "budget_tokens": 2**63}, "budget_tokens"),
        ({**TOPIC, "budget_tokens": -1}, "budget_tokens"),
        ({**TOPIC, "budget_usd": "1e30"}, "budget_usd"),
        ({**TOPIC, "budget_usd": "nan"}, "budget_usd"),
        ({**TOPIC, "budget_usd": -1}, "budget_usd"),
        ({**TOPIC, "delay_seconds": -1}, "delay_seconds"),
        ({**TOPIC, "delay_seconds": 10**12}, "delay_seconds"),
        ({**TOPIC, "tenant": "a\x00b"}, "tenant"),
        ({**TOPIC, "queue": ""}, "queue"),
        ({**TOPIC, "subject": "line\nbreak"}, "subject"),
        ({**TOPIC, "concurrency_key": "k"}, "concurrency key"),
        ({**TOPIC, "prioritty": 1}, "prioritty"),
    ],
)
async def test_what_does_not_fit_is_refused_and_named(http, harness, body, field):
    answer = await http.post(JOBS, json=body)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_input")
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "/errors#invalid_input"
    assert field in problem["detail"]
    assert (await http.get(JOBS)).json()["jobs"] == []


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff\xfe{}", b"nul", b"[" * 500_000, b'{"a":' * 100_000, b"1" * 5_000),
        *(b'{"kind":"greet","input":NaN}', b'{"kind":"greet","input":"\xff"}'),
        b'{"kind":"greet","input":"\\ud800"}',
        b'{"kind":"gr\\u0000eet","input":"x"}',
        b'{"kind":"greet","input":1' + b"0" * 5_000 + b"}",
    ],
    ids=lambda content: repr(content[:20]),
)
async def test_hostile_body_is_refused(http, content):
    answer = await http.post(JOBS, content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_json_is_taken_only_as_json(http):
    """A form of a foreign page cannot send this type without asking first."""
    answer = await http.post(JOBS, content=b'{"kind":"greet"}', headers={"Content-Type": "text/plain"})

    assert answer.status_code == 422


async def test_nul_within_an_input_is_kept(http):
    answer = await http.post(JOBS, json={"kind": "greet", "input": "a\x00b"})

    assert answer.json()["input"] == "a\x00b"


async def test_unknown_kind_is_refused(http):
    answer = await http.post(JOBS, json={"kind": "nothing"})

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_job_kind")


async def test_repeated_submission_gives_the_same_job_and_says_so(http):
    key = {"Idempotency-Key": "order-17"}

    first = await http.post(JOBS, json=TOPIC, headers=key)
    again = await http.post(JOBS, json=TOPIC, headers=key)
    other = await http.post(JOBS, json=TOPIC, headers={"Idempotency-Key": "order-18"})

    assert again.json()["job_id"] == first.json()["job_id"] != other.json()["job_id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.status_code == 202


async def test_same_key_for_another_request_is_a_conflict(http):
    await http.post(JOBS, json=TOPIC, headers={"Idempotency-Key": "order-17"})
    other = await http.post(
        JOBS,
        json={"kind": "report", "input": {"title": "moon"}},
        headers={"Idempotency-Key": "order-17"},
    )

    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


async def test_idempotency_keys_of_two_tenants_do_not_meet(running):
    ids = set()
    for tenant in ("one", "two"):
        async with running.http(await running.key(tenant=tenant)) as http:
            answer = await http.post(JOBS, json=TOPIC, headers={"Idempotency-Key": "order-17"})
            ids.add(answer.json()["job_id"])

    assert len(ids) == 2


async def test_overlong_idempotency_key_is_refused(http):
    answer = await http.post(JOBS, json=TOPIC, headers={"Idempotency-Key": "k" * 256})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_key_with_a_tenant_makes_all_its_jobs_that_tenants(running):
    async with running.http(await running.key(tenant="mine")) as http:
        implied = await http.post(JOBS, json=TOPIC)
        named = await http.post(JOBS, json={**TOPIC, "tenant": "mine"})
        foreign = await http.post(JOBS, json={**TOPIC, "tenant": "other"})

    assert implied.json()["tenant"] == named.json()["tenant"] == "mine"
    assert (foreign.status_code, foreign.json()["code"]) == (403, "access_denied")


async def test_key_for_one_kind_submits_no_other_and_learns_of_none(running):
    async with running.http(await running.key(kinds=["greet"])) as http:
        other = await http.post(JOBS, json=TOPIC)
        own = await http.post(JOBS, json={"kind": "greet", "input": "ada"})

    assert (other.status_code, other.json()["code"]) == (422, "unknown_job_kind")
    assert "registered kinds: 'greet'" in other.json()["detail"]
    assert own.status_code == 202


async def test_who_may_not_see_content_does_not_get_it_back(running):
    async with running.http(await running.key(Action.SUBMIT)) as http:
        answer = await http.post(JOBS, json=TOPIC)

    assert (answer.status_code, answer.json()["input"]) == (202, None)
