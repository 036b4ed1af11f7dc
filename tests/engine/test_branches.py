"""Branches that job code has let go of, and branches that wait beside a job that goes on."""

import asyncio
import threading
from datetime import timedelta

from holdfast.errors import FatalError, RetryLaterError
from holdfast.model import JobStatus, RetryPolicy
from holdfast.testing.signals import Mark
from tests.engine.undos import BOOK, put, remove


async def test_branches_left_behind_by_a_failed_gather_start_no_step(lab, job):
    """Neither while the job is being taken back, nor after it has ended."""
    BOOK.clear()
    slots = asyncio.Semaphore(1)
    started, by_then = [], []

    async def charge(number):
        started.append(number)
        for _ in range(20):
            # As long as a call takes to be answered.
            await asyncio.sleep(0)
        raise FatalError("no")

    @job
    async def work(job):
        await job.step("first", put, "a", undo=remove)

        async def one(number):
            async with slots:
                return await job.step(f"charge/{number}", charge, number)

        try:
            await asyncio.gather(*(one(number) for number in range(50)))
        finally:
            by_then.extend(started)

    ended = await lab.end_of(await lab.submit("work"))
    await asyncio.sleep(0)

    assert ended.status is JobStatus.FAILED
    assert started == by_then
    assert len(started) < 50
    assert BOOK.lines == [("put", "a"), ("remove", "a")]


async def test_wait_in_a_branch_does_not_suspend_a_job_between_two_steps(lab, job):
    attempts = []

    @job
    async def work(job):
        attempts.append(job.attempt)
        stop = asyncio.create_task(job.wait_for("stop"))
        await job.step("a", lambda: 1)
        await asyncio.to_thread(lambda: 2)
        await job.step("b", lambda: 3)
        stop.cancel()
        return "through"

    assert await lab.run("work") == "through"
    assert attempts == [1]


async def test_job_that_waits_for_something_unknown_is_woken_after_a_while(lab, job, clock):
    """Its function may be on its way to a step that no signal would ever wake it for."""
    passed = Mark()

    @job
    async def work(job):
        stop = asyncio.create_task(job.wait_for("stop"))
        if not passed.count:
            passed.hit()
            await asyncio.Event().wait()
        stop.cancel()
        return "through"

    job_id = await lab.submit("work")
    await lab.until(job_id, JobStatus.SUSPENDED)
    clock.advance(600)

    assert (await lab.end_of(job_id)).status is JobStatus.COMPLETED


async def test_tries_before_a_long_wait_count_after_it(lab, job, clock):
    tried = []

    async def fails():
        tried.append(clock.now())
        raise RetryLaterError("not yet", retry_after=timedelta(minutes=5))

    @job
    async def work(job):
        await job.step("call", fails, retry=RetryPolicy(attempts=3))

    job_id = await lab.submit("work")
    for number in (1, 2):
        await lab.event(job_id, "job.suspended", number=number)
        clock.advance(300)
    ended = await lab.end_of(job_id)

    assert ended.status is JobStatus.FAILED
    assert [(later - tried[0]).total_seconds() for later in tried] == [0, 300, 600]


async def test_retry_by_an_operator_begins_the_tries_anew(lab, job, clock):
    tried = []

    async def fails():
        tried.append(1)
        raise RetryLaterError("not yet", retry_after=timedelta(minutes=5))

    @job
    async def work(job):
        await job.step("call", fails, retry=RetryPolicy(attempts=2))

    job_id = await lab.submit("work")
    await lab.event(job_id, "job.suspended", number=1)
    clock.advance(300)
    await lab.end_of(job_id)

    await lab.client.retry(job_id)
    await lab.event(job_id, "job.suspended", number=2)

    assert len(tried) == 3


async def test_undo_waits_for_the_thread_of_the_step_it_takes_back(lab, job):
    BOOK.clear()
    begun, go_on = Mark(), threading.Event()

    def create(name):
        begun.hit()
        go_on.wait(5)
        BOOK.lines.append(("created", name))

    @job
    async def work(job):
        await job.step("account", create, "a", undo=remove)

    job_id = await lab.submit("work")
    await begun.wait()
    await lab.client.cancel(job_id)
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    ended = await lab.end_of(job_id)

    assert ended.status is JobStatus.CANCELLED
    assert BOOK.lines == [("created", "a"), ("remove", "a")]


async def test_error_with_numbers_of_another_library_is_stored(lab, job):
    class Score(float):
        pass

    class OddError(Exception):
        def __init__(self):
            super().__init__("odd")
            self.score, self.huge, self.yes = Score(0.5), 2**70, True

    @job
    async def work(job):
        raise OddError

    ended = await lab.end_of(await lab.submit("work"))

    assert ended.status is JobStatus.FAILED
    assert ended.error.details == {"score": 0.5, "huge": repr(2**70), "yes": True}
