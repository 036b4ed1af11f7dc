import asyncio
from datetime import timedelta

import pytest

from holdfast.errors import FatalError, SoftLimitError, StoreUnavailableError
from holdfast.model import JobStatus
from holdfast.testing.faults import Fault
from holdfast.testing.signals import Gate, Mark
from tests.engine import undos
from tests.engine.moving import ONCE, passing
from tests.engine.undos import BOOK, put, remove, remove_by_keyword, remove_in_thread, remove_result


@pytest.fixture(autouse=True)
def book():
    BOOK.clear()
    return BOOK


async def broken():
    raise FatalError("no")


def unreadable_undo(name):
    raise AssertionError("never called by name")


async def test_failure_takes_steps_back_newest_first(lab, job, book):
    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove)
        await job.step("second", put, "second", undo=remove_in_thread)
        await job.step("without", put, "without")
        await job.step("broken", broken)

    ended = await lab.end_of(await lab.submit("order"))

    assert (ended.status, ended.error.code) == (JobStatus.FAILED, "step_failed")
    assert book.lines[3:] == [("remove", "second"), ("remove", "first")]


async def test_newest_first_holds_across_attempts(lab, job, book, clock):
    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove)
        await job.sleep("nap", timedelta(hours=1))
        await job.step("second", put, "second", undo=remove)
        await job.step("third", put, "third", undo=remove)
        raise FatalError("no")

    job_id = await lab.submit("order")
    await passing(clock, lab.end_of(job_id), seconds=600)

    assert [line[1] for line in book.lines if line[0] == "remove"] == ["third", "second", "first"]


async def test_undo_gets_the_arguments_and_result_of_its_step(lab, job, book):
    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove_result)
        await job.step("second", put, name="second", undo=remove_by_keyword)
        raise FatalError("no")

    await lab.end_of(await lab.submit("order"))

    assert book.lines[2:] == [("remove", "second", "stored second"), ("remove", "first", "stored first")]


async def test_undo_of_a_step_that_only_began_gets_no_result(lab, job, book):
    @job
    async def order(job):
        await job.step("half", undos.put_half, "half", undo=remove_result, retry=ONCE)

    await lab.end_of(await lab.submit("order"))

    assert book.lines == [("put", "half"), ("remove", "half", None)]


async def test_success_takes_nothing_back(lab, job, book):
    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove)

    assert (await lab.end_of(await lab.submit("order"))).status is JobStatus.COMPLETED
    assert book.lines == [("put", "first")]


async def test_retry_of_the_job_takes_nothing_back(lab, job, book, clock):
    tries = Mark()

    @job(retry=undos.TWICE)
    async def order(job):
        await job.step("first", put, "first", undo=remove)
        tries.hit()
        if tries.count == 1:
            raise TimeoutError

    assert (await lab.end_of(await lab.submit("order"))).status is JobStatus.COMPLETED
    assert book.lines == [("put", "first")]


async def test_undo_that_fails_is_told_and_the_others_still_run(lab, job, book):
    book.broken.add("second")

    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove)
        await job.step("second", put, "second", undo=remove)
        raise FatalError("card declined")

    ended = await lab.end_of(await lab.submit("order"))

    assert ended.error.code == "compensation_failed"
    assert "card declined; then 1 steps could not be taken back: 'second'" in ended.error.message
    assert ended.error.details == {"steps": ["second"]}
    assert book.lines[-1] == ("remove", "first")


async def test_cancelled_job_whose_undo_fails_has_failed(lab, job, book):
    book.broken.add("first")
    gate = Gate()

    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove)
        await job.step("call", gate.through)

    job_id = await lab.submit("order")
    await gate.reached.wait()
    await lab.client.cancel(job_id)
    ended = await lab.end_of(job_id)

    assert ended.status is JobStatus.FAILED
    assert ended.error.message.startswith("1 steps could not be taken back: 'first'")


async def test_undo_that_no_longer_exists_is_told_and_the_others_still_run(lab, job, book, monkeypatch):
    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove)
        await job.step("second", put, "second", undo=remove_result)
        monkeypatch.delattr(undos, "remove_result")
        raise FatalError("no")

    ended = await lab.end_of(await lab.submit("order"))

    assert "no longer exists" in ended.error.message
    assert book.lines[-1] == ("remove", "first")


async def test_undo_that_raises_what_is_not_ours_is_told_too(lab, job, book, monkeypatch):
    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove)
        await job.step("second", put, "second", undo=undos.remove_numbered)
        monkeypatch.setattr(undos, "remove_numbered", type)  # has no signature
        raise FatalError("no")

    ended = await lab.end_of(await lab.submit("order"))

    assert ended.error.details == {"steps": ["second"]}
    assert book.lines[-1] == ("remove", "first")


@pytest.mark.parametrize("undo", [lambda name: None, put.__get__(1)], ids=["lambda", "bound"])
async def test_undo_that_another_process_could_not_find_is_refused_before_the_step_runs(
    lab, job, book, undo
):
    @job
    async def order(job):
        await job.step("first", put, "first", undo=undo)

    ended = await lab.end_of(await lab.submit("order"))

    assert ended.error.code == "step_usage"
    assert book.lines == []


async def test_cancel_compensates_and_ends_cancelled(lab, job, book):
    gate = Gate()

    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove)
        await job.step("call", gate.through)

    job_id = await lab.submit("order")
    await gate.reached.wait()
    await lab.client.cancel(job_id)
    ended = await lab.end_of(job_id)

    assert (ended.status, ended.error) == (JobStatus.CANCELLED, None)
    assert book.lines[-1] == ("remove", "first")


async def test_cancel_while_compensating_changes_nothing(lab, job, book):
    gate = Gate()
    book.hooks["first"] = gate.through

    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove)
        raise FatalError("no")

    job_id = await lab.submit("order")
    await gate.reached.wait()
    await lab.client.cancel(job_id)
    lab.workers[0]._heartbeat.beat_now()
    beats = lab.faults.calls.count("beat")
    lab.workers[0]._heartbeat.beat_now()
    from holdfast.testing.signals import eventually

    await eventually(lambda: lab.faults.calls.count("beat") > beats)
    gate.open()
    ended = await lab.end_of(job_id)

    assert ended.status is JobStatus.FAILED
    assert book.lines.count(("remove", "first")) == 1


async def test_crash_in_the_middle_of_compensation_resumes_where_it_was(idle, book):
    """Undone steps stay undone, and the job function does not run again."""
    gate, runs = Gate(), Mark()
    book.hooks["first"] = gate.through

    async def order(job):
        runs.hit()
        await job.step("first", put, "first", undo=remove)
        await job.step("second", put, "second", undo=remove)
        raise FatalError("card declined")

    idle.job("order", order)
    first = await idle.start_worker()
    job_id = await idle.submit("order")
    await gate.reached.wait()
    await idle.abandon(first)
    gate.open()
    idle.clock.advance(11)
    await idle.start_worker()
    ended = await passing(idle.clock, idle.end_of(job_id), seconds=0.1)

    assert (ended.status, ended.error.message) == (JobStatus.FAILED, "card declined")
    assert [line for line in book.lines if line[0] == "remove"] == [
        ("remove", "second"),
        ("remove", "first"),
        ("remove", "first"),
    ]
    assert runs.count == 1


async def test_drain_in_the_middle_of_compensation_hands_it_to_another_worker(idle, book):
    gate = Gate()
    book.hooks["second"] = gate.through

    async def order(job):
        await job.step("first", put, "first", undo=remove)
        await job.step("second", put, "second", undo=remove)
        raise FatalError("card declined")

    idle.job("order", order)
    first = await idle.start_worker()
    job_id = await idle.submit("order")
    await gate.reached.wait()
    draining = asyncio.ensure_future(first.drain())
    gate.reached.hit()
    await asyncio.wait((draining,), timeout=0.05)
    gate.open()
    await draining
    assert ("remove", "first") not in book.lines
    await idle.start_worker()
    ended = await idle.end_of(job_id)

    assert (ended.status, ended.attempt) == (JobStatus.FAILED, 1)
    assert [line for line in book.lines if line[0] == "remove"] == [
        ("remove", "second"),
        ("remove", "first"),
    ]


async def test_retry_of_a_job_that_was_taken_back_runs_those_steps_again(lab, job, book):
    runs = Mark()

    @job
    async def order(job):
        await job.step("kept", put, "kept")
        await job.step("first", put, "first", undo=remove)
        runs.hit()
        if runs.count == 1:
            raise FatalError("no")

    job_id = await lab.submit("order")
    assert (await lab.end_of(job_id)).status is JobStatus.FAILED
    await lab.client.retry(job_id)
    ended = await lab.end_of(job_id)

    assert (ended.status, ended.error) == (JobStatus.COMPLETED, None)
    assert book.lines == [("put", "kept"), ("put", "first"), ("remove", "first"), ("put", "first")]


async def test_resumed_compensation_is_not_stopped_by_the_soft_limit(lab, job, book, clock):
    @job(soft_limit=timedelta(seconds=5))
    async def order(job):
        await job.step("first", put, "first", undo=remove)
        clock.advance(6)
        await job.wait_for("go")

    job_id = await lab.submit("order")
    await lab.until(job_id, JobStatus.SUSPENDED)
    await lab.client.cancel(job_id)
    ended = await lab.end_of(job_id)

    assert ended.status is JobStatus.CANCELLED
    assert book.lines[-1] == ("remove", "first")
    assert SoftLimitError.code not in str(ended)


async def test_store_trouble_in_an_undo_is_not_taken_for_its_failure(lab, job, book, clock):
    fault = Fault(
        verb="put_checkpoint",
        action=StoreUnavailableError("away"),
        times=8,
        matches=lambda lease, checkpoint, events: checkpoint.key == "holdfast:undo/first",
    )
    lab.faults.add(fault)

    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove)
        raise FatalError("card declined")

    job_id = await lab.submit("order")
    ended = await passing(clock, lab.end_of(job_id))

    assert (fault.times, ended.status, ended.error.message) == (0, JobStatus.FAILED, "card declined")


async def test_undo_knows_the_result_whose_commit_the_cancellation_overtook(lab, job, book):
    """The result is in the store or on its way there when the step's task is cancelled."""
    job_ids = []

    def cancel_now():
        job_ids.append(1)
        (attempt,) = lab.workers[0]._attempts.values()
        from holdfast.engine.attempt import Ending

        asyncio.get_running_loop().call_soon(attempt.end, Ending.CANCEL)

    lab.faults.add(Fault(verb="put_checkpoint", action=cancel_now))

    @job
    async def order(job):
        await job.step("first", put, "first", undo=remove_result)
        await job.step("second", put, "second")

    ended = await lab.end_of(await lab.submit("order"))

    assert ended.status is JobStatus.CANCELLED
    assert book.lines == [("put", "first"), ("remove", "first", "stored first")]
