"""The bundle: three reports as children, complete when all of them are."""

from datetime import timedelta

import pytest

from holdfast.apps.reports.jobs import BUNDLE, part_job_ids, parts_of
from holdfast.apps.reports.models import BundleResult
from holdfast.errors import FatalError, JobFailedError, UnknownJobKindError
from holdfast.model import Budget, Job, JobStatus
from holdfast.store.base import JobQuery
from tests.apps.reports.conftest import report_request

KINDS = ("life_clarity", "personal_blueprint", "personal_horoscope")
SMALL = {"days": 1, "answers_per_period": 1, "sections_per_batch": 12}

pytestmark = pytest.mark.usefixtures("quick_print", "no_wait")


async def children_of(harness, job_id: str) -> dict[str, Job]:
    return {job.kind: job for job in await harness.client.list(JobQuery(parent_id=job_id))}


async def test_every_part_is_a_child_on_its_own_queue_and_all_files_are_named(harness):
    await harness.start_worker()

    job_id = await harness.submit("bundle", report_request(**SMALL))
    job = await harness.client.wait(job_id)
    result = harness.client.output_of(job)

    assert isinstance(result, BundleResult)
    assert tuple(part.product for part in result.parts) == KINDS
    children = await children_of(harness, job_id)
    assert {job.queue for job in children.values()} == {f"reports.{kind}" for kind in KINDS}
    for part in result.parts:
        [artifact] = await harness.client.artifacts(part.job_id)
        assert (artifact.name, artifact.sha256) == (part.report.artifact, part.report.sha256)
    assert job.usage.calls == sum(job.usage.calls for job in children.values()) == 4 + 5 + 4


async def test_coordinator_waits_without_a_slot_and_its_time_is_its_own(harness, desk):
    """One slot is enough: the parent leaves it to its children."""
    desk.held = "identity"
    await harness.start_worker(slots=1)

    job_id = await harness.submit("bundle", report_request(**SMALL))
    await desk.reached.wait()
    waiting = await harness.until(job_id, JobStatus.SUSPENDED)
    desk.release.set()
    job = await harness.client.wait(job_id)

    assert waiting.suspend_reason == "children"
    assert job.status is JobStatus.COMPLETED
    assert harness.registry.get("bundle").soft_limit == timedelta(seconds=120)


async def test_failed_part_fails_the_bundle_after_all_have_ended_and_a_retry_makes_only_that(
    harness, desk
):
    desk.errors["identity"] = [FatalError("no fate for Amélie")]
    await harness.start_worker()

    job_id = await harness.submit("bundle", report_request(**SMALL))
    failed = await harness.client.wait(job_id)
    children = await children_of(harness, job_id)
    written = len(desk.batches)
    await harness.client.retry(job_id)
    mended = await harness.client.wait(job_id)

    assert (failed.status, mended.status) == (JobStatus.FAILED, JobStatus.COMPLETED)
    assert failed.error is not None
    assert failed.error.code == "bundle_incomplete"
    assert "1 of 3 reports could not be made: 'life_clarity'" in failed.error.message
    assert "Amélie" not in failed.error.message + failed.error.traceback
    assert {kind: child.status for kind, child in children.items()} == {
        "life_clarity": JobStatus.FAILED,
        "personal_blueprint": JobStatus.COMPLETED,
        "personal_horoscope": JobStatus.COMPLETED,
    }
    # Its agents run side by side, so some of the four may have been finished before it failed.
    assert set(desk.batches[written:]) <= {"identity", "emotional", "career", "growth"}
    assert tuple(part.product for part in harness.client.output_of(mended).parts) == KINDS


async def test_bundle_of_which_nothing_succeeds_can_be_retried(harness, desk):
    desk.errors |= {
        batch: [FatalError("the stars are out")]
        for batch in ("identity", "section_01-12", "yearly_2026")
    }
    await harness.start_worker()
    job_id = await harness.submit("bundle", report_request(**SMALL))
    failed = await harness.client.wait(job_id)

    await harness.client.retry(job_id)
    job = await harness.client.wait(job_id)

    with pytest.raises(JobFailedError, match="3 of 3 reports could not be made"):
        harness.client.output_of(failed)
    assert job.status is JobStatus.COMPLETED


async def test_jobs_of_the_parts_are_known_by_the_id_of_the_bundle(harness):
    await harness.start_worker()

    job_id = await harness.submit("bundle", report_request(**SMALL))
    await harness.client.wait(job_id)

    children = await children_of(harness, job_id)
    assert part_job_ids(job_id) == {kind: children[kind].job_id for kind in KINDS}
    assert parts_of("bundle", job_id) == part_job_ids(job_id)
    assert parts_of("life_clarity", job_id) == {"life_clarity": job_id}
    with pytest.raises(UnknownJobKindError):
        parts_of("love_letter", job_id)


async def test_cancelling_the_bundle_cancels_its_parts(harness, desk):
    desk.held = "identity"
    await harness.start_worker()
    job_id = await harness.submit("bundle", report_request(**SMALL))
    await desk.reached.wait()

    await harness.client.cancel(job_id)
    job = await harness.client.wait(job_id)

    children = await children_of(harness, job_id)
    clarity = await harness.client.wait(children["life_clarity"].job_id)
    assert (job.status, clarity.status) == (JobStatus.CANCELLED, JobStatus.CANCELLED)
    for child in children.values():
        assert (await harness.client.wait(child.job_id)).status.terminal


async def test_budget_of_the_bundle_holds_for_its_parts(harness):
    await harness.start_worker()

    job_id = await harness.submit("bundle", report_request(**SMALL), budget=Budget(tokens=10))
    waiting = await harness.until(job_id, JobStatus.SUSPENDED)
    for kind in KINDS:
        child = (await children_of(harness, job_id))[kind]
        await harness.until(child.job_id, JobStatus.SUSPENDED)
    children = await children_of(harness, job_id)
    await harness.client.set_budget(job_id, Budget())
    job = await harness.client.wait(job_id)

    assert waiting.suspend_reason == "children"
    assert {child.suspend_reason for child in children.values()} == {"budget"}
    assert job.status is JobStatus.COMPLETED


async def test_progress_counts_the_parts(harness, desk):
    desk.held = "identity"
    await harness.start_worker()

    job_id = await harness.submit("bundle", report_request(**SMALL))
    await desk.reached.wait()
    await harness.event(job_id, "child.ended", number=2)
    job = await harness.client.get(job_id, with_children=True)
    desk.release.set()
    await harness.client.wait(job_id)

    assert job.progress.total == len(KINDS)
    assert 2 <= job.progress.done < 3


async def test_parts_stay_in_the_line_that_the_bundle_was_put_into(harness):
    await harness.start_worker()

    job_id = await harness.submit("bundle", report_request(**SMALL), queue="mine")
    await harness.client.wait(job_id)

    assert {job.queue for job in (await children_of(harness, job_id)).values()} == {"mine"}


def test_bundle_counts_the_calls_of_its_parts():
    assert len(BUNDLE.batches(report_request())) == 217
