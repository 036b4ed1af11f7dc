"""One person's data: found over families and forks, and erased."""

import asyncio
from datetime import timedelta

import pytest

from holdfast.engine.subjects import erase, jobs_of
from holdfast.errors import StoreUnavailableError
from holdfast.model import JobStatus
from holdfast.store.base import JobQuery
from holdfast.testing.faults import Fault
from holdfast.testing.signals import Gate

NOW = timedelta()


async def work(job, content: str | None):
    if content is not None:
        await job.save_artifact("book.txt", content.encode())


def files(lab):
    return [path.name for path in lab.artifacts.folder.rglob("*") if path.is_file()]


async def ids(lab, subject):
    return [job.job_id async for job in jobs_of(lab.client, subject)]


async def test_erasing_deletes_a_subjects_jobs_with_their_files_and_no_others(lab, job):
    job(work)
    for subject in ("u_1", "u_2", "u_1"):
        await lab.run("work", f"book of {subject}", subject=subject)
    await lab.run("work", "nobody's")

    removal = await erase(lab.client, "u_1", wait=NOW)

    assert (len(removal.job_ids), removal.files, removal.files_left) == (2, 1, set())
    assert await ids(lab, "u_1") == []
    assert len(await lab.client.list(JobQuery())) == 2
    assert len(files(lab)) == 2


async def test_erasing_again_finds_nothing(lab, job):
    job(work)
    await lab.run("work", subject="u_1")
    await erase(lab.client, "u_1", wait=NOW)

    assert (await erase(lab.client, "u_1", wait=NOW)).job_ids == []


async def test_jobs_of_many_pages_are_listed_and_erased(idle):
    idle.job("work", work)
    job_ids = [await idle.submit("work", subject="u_1") for _ in range(205)]

    assert await ids(idle, "u_1") == sorted(job_ids, reverse=True)
    assert set((await erase(idle.client, "u_1", wait=NOW)).job_ids) == set(job_ids)


async def test_running_job_is_cancelled_and_erased_once_it_has_ended(lab, job):
    gate = Gate()

    @job
    async def waits(context):
        await context.step("gate", gate.through)

    job_id = await lab.submit("waits", subject="u_1")
    await gate.reached.wait()

    removal = await erase(lab.client, "u_1", wait=timedelta(seconds=20))

    assert removal.job_ids == [job_id]
    assert await ids(lab, "u_1") == []


async def test_job_that_does_not_end_in_time_is_left(lab, job):
    gate, ending = Gate(), Gate()

    @job
    async def stubborn(context):
        try:
            await context.step("gate", gate.through)
        finally:
            await ending.through()

    job_id = await lab.submit("stubborn", subject="u_1")
    other = await lab.submit("stubborn", subject="u_2")
    await gate.reached.wait()

    removal = await erase(lab.client, "u_1", wait=NOW)

    assert removal.job_ids == []
    assert await ids(lab, "u_1") == [job_id]
    assert (await lab.client.get(job_id)).cancel_requested_at is not None
    assert (await lab.client.get(other)).cancel_requested_at is None
    ending.open()
    assert (await lab.end_of(job_id)).status is JobStatus.CANCELLED
    assert (await erase(lab.client, "u_1", wait=NOW)).job_ids == [job_id]
    gate.open()


async def test_trouble_in_the_middle_is_told_and_the_next_call_goes_on(lab, job):
    job(work)
    for _ in range(3):
        await lab.run("work", subject="u_1")
    lab.faults.add(Fault(verb="prune_jobs", action=StoreUnavailableError("away"), skip=1))

    with pytest.raises(StoreUnavailableError):
        await erase(lab.client, "u_1", wait=NOW)

    assert (await erase(lab.client, "u_1", wait=NOW)).job_ids == []
    assert await ids(lab, "u_1") == []


async def test_fork_of_a_subjects_job_is_erased_with_it(lab, job):
    job(work)
    source = await lab.submit("work", subject="u_1")
    await lab.end_of(source)
    fork = await lab.client.fork(source)
    await lab.end_of(fork.job_id)

    assert set((await erase(lab.client, "u_1", wait=NOW)).job_ids) == {source, fork.job_id}


async def test_file_that_has_not_settled_is_deleted_within_the_wait(lab, job, monkeypatch):
    job(work)
    await lab.run("work", "content", subject="u_1")
    delete = lab.artifacts.delete
    asked = []

    async def not_at_once(sha256, **options):
        asked.append(sha256)
        return len(asked) > 2 and await delete(sha256, **options)

    monkeypatch.setattr(lab.artifacts, "delete", not_at_once)
    monkeypatch.setattr("holdfast.engine.subjects._SETTLE_POLL_SECONDS", 0.001)

    async with asyncio.timeout(20):
        removal = await erase(lab.client, "u_1", wait=timedelta(seconds=20))

    assert (removal.files, removal.files_left, len(asked)) == (1, set(), 3)
    assert files(lab) == []
