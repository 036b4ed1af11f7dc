"""Life Clarity: four agents at the same time, whose calls are steps like all others."""

import pytest

from holdfast.apps.reports.clarity import agents
from holdfast.model import JobStatus
from tests.apps.reports.conftest import report_request

pytestmark = pytest.mark.usefixtures("quick_print", "no_wait")

AGENTS = ("career", "emotional", "growth", "identity")


async def written_keys(harness, job_id: str) -> list[str]:
    records = await harness.client.records(job_id)
    keys = [step.key for step in records.checkpoints if step.finished]
    return sorted(key for key in keys if key.startswith("write/"))


async def test_every_agent_is_a_step_and_its_call_is_booked(harness):
    await harness.start_worker()

    job_id = await harness.submit("life_clarity", report_request())
    job = await harness.client.wait(job_id)

    assert harness.client.output_of(job).answers == 24
    assert await written_keys(harness, job_id) == [f"write/{name}/1" for name in AGENTS]
    calls = (await harness.client.records(job_id)).calls
    assert {(call.step_key, call.status) for call in calls} == {
        (f"write/{name}/1", "settled") for name in AGENTS
    }
    assert (job.usage.calls, job.usage.reserved_tokens) == (4, 0)
    assert job.progress.done == job.progress.total > 0


async def test_agents_work_at_the_same_time(harness, desk):
    """The first is kept back; the other three go on and end."""
    desk.held = agents()[0].name
    await harness.start_worker()

    job_id = await harness.submit("life_clarity", report_request())
    await harness.event(job_id, "usage", number=3)
    asked = sorted(desk.batches)
    desk.release.set()
    await harness.client.wait(job_id)

    assert tuple(asked) == AGENTS


async def test_strict_order_has_one_agent_work_after_another(harness, desk):
    await harness.start_worker()

    await harness.client.wait(await harness.submit("life_clarity", report_request(strict_order=True)))

    assert desk.batches == [agent.name for agent in agents()]


async def test_answer_of_another_count_is_asked_for_again(harness, desk):
    desk.spoilt["career"] = ["too short", "too short"]
    await harness.start_worker()

    job = await harness.client.wait(await harness.submit("life_clarity", report_request()))

    assert job.status is JobStatus.COMPLETED
    assert desk.batches.count("career") == 3
    assert job.usage.calls == 6


async def test_view_that_is_cut_off_is_written_in_pieces(harness, desk):
    desk.questions_max = 3
    await harness.start_worker()

    job_id = await harness.submit("life_clarity", report_request())
    job = await harness.client.wait(job_id)

    assert harness.client.output_of(job).answers == 24
    assert [key for key in await written_keys(harness, job_id) if "career" in key] == [
        "write/career/a/1",
        "write/career/b/1",
    ]


async def test_failed_agent_lets_the_others_end_and_a_retry_asks_for_it_alone(harness, desk):
    desk.errors["career"] = [ValueError("the provider's day is bad")]
    await harness.start_worker()
    job_id = await harness.submit("life_clarity", report_request())
    failed = await harness.client.wait(job_id)
    kept = await written_keys(harness, job_id)
    before = len(desk.batches)

    await harness.client.retry(job_id)
    job = await harness.client.wait(job_id)

    assert (failed.status, job.status) == (JobStatus.FAILED, JobStatus.COMPLETED)
    assert kept == [f"write/{name}/1" for name in AGENTS if name != "career"]
    assert desk.batches[before:] == ["career"]
