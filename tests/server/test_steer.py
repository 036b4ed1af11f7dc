"""Cancel, retry, fork, signal, budget, and tokens."""

import pytest

from holdfast import Budget, JobContext
from holdfast.model import JobStatus
from holdfast.server.access import Action

JOBS = "/api/v1/jobs"


async def test_queued_job_is_cancelled_and_once_more(http, harness):
    job_id = await harness.submit("greet", "ada")

    first = await http.post(f"{JOBS}/{job_id}/cancel")
    again = await http.post(f"{JOBS}/{job_id}/cancel")

    assert [answer.status_code for answer in (first, again)] == [202, 202]
    assert first.json()["status"] == again.json()["status"] == "cancelled"


async def test_cancelled_job_is_retried_and_runs(http, harness):
    job_id = await harness.submit("greet", "ada")
    await harness.client.cancel(job_id)

    answer = await http.post(f"{JOBS}/{job_id}/retry")
    await harness.start_worker()

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert (await harness.end_of(job_id)).status is JobStatus.COMPLETED


@pytest.mark.parametrize("verb", ["cancel", "retry"])
async def test_completed_job_is_left_as_it_is(http, harness, verb):
    await harness.start_worker()
    job_id = await harness.submit("greet", "ada")
    await harness.end_of(job_id)

    answer = await http.post(f"{JOBS}/{job_id}/{verb}")

    assert (answer.status_code, answer.json()["code"]) == (409, "job_finished")


async def test_job_under_way_cannot_be_retried(http, harness):
    job_id = await harness.submit("greet", "ada")

    answer = await http.post(f"{JOBS}/{job_id}/retry")

    assert (answer.status_code, answer.json()["code"]) == (409, "job_not_finished")


async def test_fork_is_a_new_job_with_what_was_finished(http, harness):
    await harness.start_worker()
    source = await harness.submit("greet", "ada", tenant="shop", budget=Budget(usd="1", tokens=10))
    await harness.end_of(source)

    answer = await http.post(f"{JOBS}/{source}/fork", json={"input": "grace", "budget_usd": "2"})
    fork = await harness.end_of(answer.json()["job_id"])

    assert answer.status_code == 202
    assert answer.headers["location"] == f"{JOBS}/{fork.job_id}"
    # The step was kept, so its result is the source's.
    assert (fork.input, fork.output, fork.tenant) == (b'"grace"', b'"ADA"', "shop")
    assert fork.budget == Budget(usd="2", tokens=10)


async def test_fork_can_leave_steps_behind_and_needs_no_body(http, harness):
    await harness.start_worker()
    source = await harness.submit("greet", "ada")
    await harness.end_of(source)

    afresh = await http.post(f"{JOBS}/{source}/fork", json={"keep": [], "input": "grace"})
    bare = await http.post(f"{JOBS}/{source}/fork")

    assert (await harness.end_of(afresh.json()["job_id"])).output == b'"GRACE"'
    assert (await harness.end_of(bare.json()["job_id"])).output == b'"ADA"'


async def test_fork_of_steps_that_are_not_there_is_refused(http, harness):
    source = await harness.submit("greet", "ada")

    answer = await http.post(f"{JOBS}/{source}/fork", json={"keep": ["nothing"]})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_signal_wakes_a_job_that_waits_for_it(http, harness):
    await harness.start_worker()
    job_id = await harness.submit("report", {"title": "tides"})
    await harness.until(job_id, JobStatus.SUSPENDED)

    answer = await http.post(f"{JOBS}/{job_id}/signals", json={"name": "approval", "payload": {"by": 7}})

    assert answer.status_code == 202
    event = await harness.event(job_id, "signal.received")
    assert answer.json() == {"seq": event.seq}
    assert (await harness.end_of(job_id)).output == b"""["tides","{'by': 7}"]"""


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "a\x00"}, {"name": "a", "payload": 2**64}])
async def test_signal_that_does_not_fit_is_refused(http, harness, body):
    job_id = await harness.submit("greet", "ada")

    answer = await http.post(f"{JOBS}/{job_id}/signals", json=body)

    assert answer.status_code == 422


async def test_budget_is_replaced_as_a_whole(http, harness):
    job_id = await harness.submit("greet", "ada", budget=Budget(usd="1", tokens=10))

    answer = await http.put(f"{JOBS}/{job_id}/budget", json={"usd": 2.5, "tokens": None})

    assert (answer.status_code, answer.json()["budget_usd"]) == (200, "2.5")
    assert (await harness.store.get_job(job_id)).budget == Budget(usd="2.5")


@pytest.mark.parametrize("body", [{}, {"usd": 1}, {"usd": -1, "tokens": 1}, {"usd": 1, "tokens": 2**63}])
async def test_budget_that_is_forgotten_or_impossible_is_refused(http, harness, body):
    """A limit that is left out by mistake must not be taken away by it."""
    job_id = await harness.submit("greet", "ada", budget=Budget(usd="1"))

    answer = await http.put(f"{JOBS}/{job_id}/budget", json=body)

    assert answer.status_code == 422
    assert (await harness.store.get_job(job_id)).budget == Budget(usd="1")


async def test_token_shows_its_job_and_ends(http, running, harness):
    job_id = await harness.submit("greet", "ada")

    made = await http.post(f"{JOBS}/{job_id}/tokens", json={"lifetime_seconds": 60})
    by_default = await http.post(f"{JOBS}/{job_id}/tokens")

    token = made.json()["token"]
    assert (made.status_code, by_default.status_code) == (201, 201)
    assert made.json()["expires_at"] < by_default.json()["expires_at"]
    async with running.http(token) as holder:
        assert (await holder.get(f"{JOBS}/{job_id}")).json()["input"] == "ada"
        assert (await holder.post(f"{JOBS}/{job_id}/cancel")).status_code == 403


async def test_token_makes_no_tokens(running, harness):
    """Or it would never end."""
    job_id = await harness.submit("greet", "ada")

    async with running.http(running.service.tokens.for_job(job_id)) as holder:
        answer = await holder.post(f"{JOBS}/{job_id}/tokens")

    assert (answer.status_code, answer.json()["code"]) == (403, "access_denied")


@pytest.mark.parametrize("seconds", [0, -1, 10**12, 1.5, "x"])
async def test_token_for_no_sensible_time_is_refused(http, harness, seconds):
    job_id = await harness.submit("greet", "ada")

    answer = await http.post(f"{JOBS}/{job_id}/tokens", json={"lifetime_seconds": seconds})

    assert answer.status_code == 422


async def test_reader_steers_nothing(running, harness):
    job_id = await harness.submit("greet", "ada")
    async with running.http(await running.key(Action.READ)) as http:
        answers = [
            await http.post(f"{JOBS}/{job_id}/{verb}") for verb in ("cancel", "retry", "fork", "tokens")
        ]

    assert {answer.status_code for answer in answers} == {403}
    assert (await harness.store.get_job(job_id)).status is JobStatus.QUEUED


async def test_fork_of_a_kind_that_is_gone_is_refused(http, harness):
    async def passing(job: JobContext) -> None: ...

    harness.job("passing", passing)
    job_id = await harness.submit("passing")
    del harness.registry._kinds["passing"]

    answer = await http.post(f"{JOBS}/{job_id}/fork")

    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_job_kind")
