import asyncio
import logging
import time
from datetime import timedelta
from typing import Any, cast

import pytest

from holdfast import codec
from holdfast.engine import heartbeat
from holdfast.engine import worker as worker_module
from holdfast.engine.attempt import Ending, Services
from holdfast.errors import DispatchError, FatalError, LeaseLost, StoreError, StoreUnavailableError
from holdfast.model import JobStatus, RetryPolicy
from holdfast.store.base import Pulse, Store, WorkerRecord
from holdfast.testing.clock import ManualClock
from holdfast.testing.faults import Fault
from holdfast.testing.harness import Harness
from holdfast.testing.signals import Gate, Mark, eventually
from tests.engine import undos
from tests.engine.moving import ONCE, passing
from tests.engine.undos import BOOK


@pytest.fixture(autouse=True)
def book():
    BOOK.clear()
    return BOOK


def uncancel():
    """Swallow a cancellation for good, as badly written job code does."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


def beat_now(worker):
    worker._heartbeat.beat_now()


# --- cancel -----------------------------------------------------------------------------------


async def test_cancel_of_a_running_job_closes_its_open_call(lab, job):
    gate, closed = Gate(), Mark()

    async def call():
        try:
            await gate.through()
        finally:
            closed.hit()

    @job
    async def work(job):
        await job.step("call", call)

    job_id = await lab.submit("work")
    await gate.reached.wait()
    began = time.monotonic()
    await lab.client.cancel(job_id)
    ended = await lab.end_of(job_id)

    assert ended.status is JobStatus.CANCELLED
    assert closed.count == 1
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("delay", [None, timedelta(hours=1)])
async def test_cancel_of_a_queued_job_needs_no_worker(idle, delay):
    async def work(job):
        pass

    idle.job("work", work)
    job_id = await idle.submit("work", delay=delay)

    assert (await idle.client.cancel(job_id)).status is JobStatus.CANCELLED


async def test_cancel_of_a_suspended_job_without_undo_needs_no_worker(idle):
    async def work(job):
        await job.wait_for("go")

    idle.job("work", work)
    worker = await idle.start_worker()
    job_id = await idle.submit("work")
    await idle.until(job_id, JobStatus.SUSPENDED)
    await worker.drain()

    assert (await idle.client.cancel(job_id)).status is JobStatus.CANCELLED


async def test_cancel_of_a_suspended_job_with_undo_is_compensated_by_a_worker(lab, job, book):
    @job
    async def work(job):
        await job.step("a", undos.put, "a", undo=undos.remove)
        await job.wait_for("go")

    job_id = await lab.submit("work")
    await lab.until(job_id, JobStatus.SUSPENDED)
    await lab.client.cancel(job_id)
    ended = await lab.end_of(job_id)

    assert ended.status is JobStatus.CANCELLED
    assert book.lines == [("put", "a"), ("remove", "a")]


async def test_cancel_does_not_wait_for_a_thread_that_goes_on(lab, job):
    """A thread cannot be stopped; its result is dropped."""
    gate = Gate()

    @job
    async def work(job):
        await job.step("thread", gate.through_thread)

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await lab.client.cancel(job_id)
    ended = await lab.end_of(job_id)
    gate.open()

    assert ended.status is JobStatus.CANCELLED
    assert (await lab.client.records(job_id)).checkpoints == ()


async def test_job_code_that_swallows_its_cancellation_can_start_nothing_new(lab, job):
    gate, calls = Gate(), Mark()

    @job
    async def work(job):
        try:
            await job.step("call", gate.through)
        except asyncio.CancelledError:
            uncancel()
        await job.step("more", calls.hit)

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await lab.client.cancel(job_id)

    assert (await lab.end_of(job_id)).status is JobStatus.CANCELLED
    assert calls.count == 0


async def test_job_code_that_turns_its_cancellation_into_an_error_is_still_cancelled(lab, job):
    gate = Gate()

    @job
    async def work(job):
        try:
            await job.step("call", gate.through)
        except asyncio.CancelledError:
            raise ValueError("what I make of it") from None

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await lab.client.cancel(job_id)

    ended = await lab.end_of(job_id)
    assert (ended.status, ended.error) == (JobStatus.CANCELLED, None)


async def test_cancel_at_the_start_of_the_attempt_runs_no_job_code(lab, job, book):
    """A cancel that came between the claim and the first line of the job function."""
    runs = Mark()

    @job
    async def work(job):
        runs.hit()

    begin = lab.workers[0]._begin

    def cancelled_begin(claim):
        task = begin(claim)
        lab.workers[0]._attempts[task].end(Ending.CANCEL)
        return task

    lab.workers[0]._intake._begin = cancelled_begin
    ended = await lab.end_of(await lab.submit("work"))

    assert ended.status is JobStatus.CANCELLED
    assert runs.count == 0


# --- what job code raises ----------------------------------------------------------------------


class Stop(BaseException):
    pass


@pytest.mark.parametrize(
    "error", [SystemExit(1), KeyboardInterrupt(), Stop("x"), GeneratorExit()], ids=repr
)
async def test_job_function_that_would_end_the_process_fails_only_its_job(lab, job, error):
    @job
    async def work(job):
        raise error

    @job
    async def other(job):
        return "alive"

    ended = await lab.end_of(await lab.submit("work"))

    assert ended.status is JobStatus.FAILED
    assert await lab.run("other") == "alive"


async def test_job_function_that_cancels_itself_has_failed(lab, job):
    @job
    async def work(job):
        raise asyncio.CancelledError

    ended = await lab.end_of(await lab.submit("work"))

    assert ended.error.message == "the job function was cancelled from within"


async def test_job_is_tried_again_by_the_policy_of_its_kind(lab, job, clock):
    @job(retry=RetryPolicy(attempts=3, base_seconds=10, jitter=False))
    async def work(job):
        if job.attempt < 3:
            raise TimeoutError("not yet")
        return job.attempt

    job_id = await lab.submit("work")
    await lab.event(job_id, "attempt.failed")
    assert (await lab.client.get(job_id)).available_at == clock.now() + timedelta(seconds=10)
    ended = await passing(clock, lab.end_of(job_id))

    assert (ended.output, ended.attempt) == (b"3", 3)


async def test_error_that_a_step_has_retried_in_vain_is_final(lab, job):
    async def broken():
        raise TimeoutError

    @job(retry=RetryPolicy(attempts=5, base_seconds=0))
    async def work(job):
        await job.step("a", broken, retry=ONCE)

    ended = await lab.end_of(await lab.submit("work"))

    assert (ended.status, ended.attempt) == (JobStatus.FAILED, 1)


async def test_output_that_has_no_json_form_fails_the_job(lab, job):
    @job
    async def work(job):
        return object()

    assert (await lab.end_of(await lab.submit("work"))).error.code == "unserializable_value"


async def test_error_with_text_that_is_not_unicode_is_stored(lab, job):
    """Names of files may hold lone surrogates; the failure must not be one of the store."""

    @job
    async def work(job):
        error = FatalError("cannot read \udcff.pdf")
        vars(error)["path"] = "\udcff.pdf"
        raise error

    ended = await lab.end_of(await lab.submit("work"))

    assert ended.error.message == "cannot read ?.pdf"
    assert ended.error.details == {"path": "?.pdf"}


async def test_error_that_cannot_be_read_is_stored(lab, job):
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("mute")

    @job
    async def work(job):
        raise MuteError

    ended = await lab.end_of(await lab.submit("work"))

    assert ended.error.message == "MuteError without a readable message"


async def test_stored_input_that_no_longer_fits_fails_the_job_by_name(idle):
    async def before(job, value):
        pass

    async def after_typed(job, value: list[tuple[int, int]]):
        pass

    idle.job("work", before)
    job_id = await idle.submit("work", {"a": "b"})
    del idle.registry._kinds["work"]
    idle.job("work", after_typed)
    await idle.start_worker()

    ended = await idle.end_of(job_id)
    assert ended.error.code == "checkpoint_type"
    assert "input of job kind 'work'" in ended.error.message


# --- time limits ---------------------------------------------------------------------------------


async def test_hard_limit_fails_the_job_and_takes_it_back(lab, job, clock, book):
    gate = Gate()

    @job(hard_limit=timedelta(seconds=60))
    async def work(job):
        await job.step("a", undos.put, "a", undo=undos.remove)
        await job.step("call", gate.through)

    job_id = await lab.submit("work")
    await gate.reached.wait()
    ended = await passing(clock, lab.end_of(job_id), seconds=10)

    assert (ended.status, ended.error.code) == (JobStatus.FAILED, "job_timeout")
    assert "hard limit of 60 s" in ended.error.message
    assert book.lines[-1] == ("remove", "a")


async def test_hard_limit_counts_time_under_workers_over_all_attempts(lab, job, clock):
    """Time asleep does not count."""
    gate = Gate()

    @job(hard_limit=timedelta(seconds=60))
    async def work(job):
        await job.step("busy", lambda: clock.advance(40))
        await job.sleep("nap", timedelta(hours=1))
        await job.step("call", gate.through)

    job_id = await lab.submit("work")
    await lab.until(job_id, JobStatus.SUSPENDED)
    assert (await lab.client.get(job_id)).active_seconds == 40
    await passing(clock, gate.reached.wait(), seconds=300)
    began = clock.now()
    ended = await passing(clock, lab.end_of(job_id), seconds=1)

    assert ended.error.code == "job_timeout"
    assert clock.now() - began < timedelta(seconds=40)


# --- leases, rescue, zombies ---------------------------------------------------------------------


async def test_rescued_worker_writes_nothing_more_and_drops_its_attempts(folder, clock):
    """A zombie: its lease ran out while it went on. Another worker finishes the job."""
    calls, cancelled, gate = [], Mark(), Gate()

    async def call():
        calls.append(1)
        if len(calls) == 1:
            try:
                await gate.through()
            finally:
                cancelled.hit()
        return len(calls)

    async def work(job):
        return await job.step("call", call)

    others = ManualClock()
    async with Harness(folder, clock=clock) as first, Harness(folder, clock=others) as second:
        first.job("work", work)
        second.job("work", work)
        zombie = await first.start_worker()
        old_id = zombie.worker_id
        job_id = await first.submit("work")
        await gate.reached.wait()
        others.advance(11)  # only the others' clock: it does not rescue itself
        assert [each.job_id for each in await second.store.rescue_jobs()] == [job_id]
        await second.start_worker()
        ended = await passing(second.clock, second.end_of(job_id), seconds=0.1)
        beat_now(zombie)
        await cancelled.wait()
        await eventually(lambda: zombie.worker_id != old_id and zombie.running == 0)

    assert (ended.output, ended.attempt, ended.epoch) == (b"2", 1, 2)


async def test_checkpoint_of_a_zombie_is_refused_and_ends_its_attempt(folder, clock):
    gate = Gate()

    async def call():
        await gate.through()
        return "zombie"

    async def work(job):
        await asyncio.gather(job.step("call", call), asyncio.Event().wait())

    others = ManualClock()
    async with Harness(folder, clock=clock) as first, Harness(folder, clock=others) as second:
        first.job("work", work)
        zombie = await first.start_worker()
        job_id = await first.submit("work")
        await gate.reached.wait()
        others.advance(11)  # only the others' clock: it does not rescue itself
        assert [each.job_id for each in await second.store.rescue_jobs()] == [job_id]
        gate.open()
        await eventually(lambda: zombie.running == 0)

        assert (await second.client.records(job_id)).checkpoints == ()
        assert (await second.client.get(job_id)).status is JobStatus.QUEUED


@pytest.mark.parametrize("verb", ["begin_step", "append_events", "settle_attempt"])
async def test_lease_found_lost_at_any_write_ends_the_attempt_quietly(lab, job, verb, caplog):
    lab.faults.add(Fault(verb=verb, action=LeaseLost(), times=99))
    done = Mark()

    @job
    async def work(job):
        done.hit()
        job.emit("thing.done")
        async with asyncio.TaskGroup() as group:
            group.create_task(job.step("a", undos.put, "a", undo=undos.remove))

    with caplog.at_level(logging.WARNING, "holdfast"):
        await lab.submit("work")
        await done.wait()
        await eventually(lambda: "lease lost" in caplog.text)
        await eventually(lambda: lab.workers[0].running == 0)

    assert "not settled" not in caplog.text


async def test_worker_that_was_signed_off_registers_anew_and_goes_on(lab, job):
    gate = Gate()

    @job
    async def work(job):
        await gate.through()
        return "done"

    worker = lab.workers[0]
    old = worker.worker_id
    job_id = await lab.submit("work")
    await gate.reached.wait()
    await lab.store.release_worker(old)
    worker._heartbeat.beat_now()
    await gate.reached.wait(2)
    gate.open()
    ended = await lab.end_of(job_id)

    assert worker.worker_id != old
    assert (ended.status, ended.attempt) == (JobStatus.COMPLETED, 1)


async def test_registering_anew_is_tried_until_the_store_answers(lab, job, clock):
    @job
    async def work(job):
        return 1

    worker = lab.workers[0]
    old = worker.worker_id
    fault = lab.faults.add(
        Fault(
            verb="beat",
            action=StoreUnavailableError("away"),
            times=2,
            matches=lambda record, first: first,
        )
    )
    await lab.store.release_worker(old)
    worker._on_pulse(Pulse(alive=False))
    worker._on_pulse(Pulse(alive=False))  # a second beat while that is under way
    await passing(clock, asyncio.shield(worker._renewal))

    assert fault.times == 0
    assert await lab.run("work") == 1


async def test_third_lost_worker_in_one_step_poisons_the_job(idle, clock):
    gate = Gate()

    async def work(job):
        await job.step("before", undos.put, "x")
        await job.step("killer", gate.through)

    idle.job("work", work)
    job_id = await idle.submit("work")
    for times in (1, 2, 3):
        worker = await idle.start_worker()
        await passing(clock, gate.reached.wait(times), seconds=0.1)
        await idle.abandon(worker)
        clock.advance(11)
    await idle.start_worker()
    ended = await passing(clock, idle.end_of(job_id), seconds=0.1)

    assert (ended.status, ended.error.code) == (JobStatus.FAILED, "poison_job")
    assert "lost 3 workers in step 'killer'" in ended.error.message
    assert gate.reached.count == 3


async def test_undo_that_kills_three_workers_is_given_up(idle, clock, book):
    gate = Gate()
    book.hooks["a"] = gate.through

    async def work(job):
        await job.step("a", undos.put, "a", undo=undos.remove)
        raise FatalError("no")

    idle.job("work", work)
    job_id = await idle.submit("work")
    for times in (1, 2, 3):
        worker = await idle.start_worker()
        await passing(clock, gate.reached.wait(times), seconds=0.1)
        await idle.abandon(worker)
        clock.advance(11)
    await idle.start_worker()
    ended = await passing(clock, idle.end_of(job_id), seconds=0.1)

    assert ended.status is JobStatus.FAILED
    assert gate.reached.count == 3


async def test_heartbeat_goes_on_while_the_loop_is_blocked(lab, job):
    """The thread renews the lease; only a loop blocked for long withholds it."""
    worker = lab.workers[0]
    beats = lab.faults.calls.count("beat")

    worker._heartbeat.beat_now()
    until = time.monotonic() + 5
    while lab.faults.calls.count("beat") == beats and time.monotonic() < until:
        pass  # holds the loop

    assert lab.faults.calls.count("beat") > beats


async def test_heartbeat_is_withheld_when_the_loop_is_blocked_for_long(lab, monkeypatch, caplog):
    beat = lab.workers[0]._heartbeat
    beats = lab.faults.calls.count("beat")
    monkeypatch.setattr(heartbeat, "LOOP_BLOCKED_SECONDS_MAX", -1)
    with caplog.at_level(logging.CRITICAL, "holdfast.engine.heartbeat"):
        beat.beat_now()
        await eventually(lambda: "heartbeat withheld" in caplog.text)

    assert lab.faults.calls.count("beat") == beats


async def test_heartbeat_survives_a_store_that_fails(lab, caplog):
    lab.faults.add(Fault(verb="beat", action=StoreUnavailableError("away")))
    beats = lab.faults.calls.count("beat")
    with caplog.at_level(logging.WARNING, "holdfast.engine.heartbeat"):
        lab.workers[0]._heartbeat.beat_now()
        await eventually(lambda: "heartbeat failed" in caplog.text)
    lab.workers[0]._heartbeat.beat_now()

    await eventually(lambda: lab.faults.calls.count("beat") > beats + 1)


async def test_heartbeat_ends_when_its_loop_is_closed():
    """Nothing hangs when the process goes down without a drain."""

    class Beaten:
        def beat(self, record, *, first):
            return Pulse(alive=True)

    loop = asyncio.new_event_loop()

    async def begin():
        started = heartbeat.Heartbeat(
            cast("Store", Beaten()),
            lambda: cast("WorkerRecord", None),
            lambda pulse: None,
            interval_seconds=0.001,
        )
        await started.start()
        return started

    started = await asyncio.to_thread(loop.run_until_complete, begin())
    await asyncio.to_thread(loop.run_until_complete, loop.shutdown_default_executor())
    loop.close()

    await asyncio.to_thread(started._thread.join, 5)
    assert not started._thread.is_alive()


# --- drain -----------------------------------------------------------------------------------------


async def test_drain_lets_steps_in_flight_finish_and_starts_no_others(idle):
    gate, calls = Gate(), Mark()

    async def work(job):
        await job.step("in flight", gate.through)
        await job.step("next", calls.hit)

    idle.job("work", work)
    worker = await idle.start_worker(drain_grace=timedelta(seconds=5))
    job_id = await idle.submit("work")
    await gate.reached.wait()
    draining = asyncio.ensure_future(worker.drain())
    await eventually(lambda: all(attempt.draining.is_set() for attempt in worker._attempts.values()))
    gate.open()
    await draining

    job = await idle.client.get(job_id)
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 0)
    assert [found.key for found in (await idle.client.records(job_id)).checkpoints] == ["in flight"]
    assert calls.count == 0
    assert "attempt.released" in await idle.event_types(job_id)


async def test_drain_hands_the_job_over_without_repeating_a_finished_step(idle):
    gate, calls = Gate(), Mark()

    async def work(job):
        await job.step("in flight", gate.through)
        await job.step("next", calls.hit)
        return job.attempt

    idle.job("work", work)
    worker = await idle.start_worker()
    job_id = await idle.submit("work")
    await gate.reached.wait()
    draining = asyncio.ensure_future(worker.drain())
    await eventually(lambda: all(attempt.draining.is_set() for attempt in worker._attempts.values()))
    gate.open()
    await draining
    await idle.start_worker()
    ended = await idle.end_of(job_id)

    assert ended.output == b"1"
    assert (gate.reached.count, calls.count) == (1, 1)


async def test_drain_cancels_what_holds_on_past_the_grace(idle):
    gate, cancelled = Gate(), Mark()

    async def call():
        try:
            await gate.through()
        finally:
            cancelled.hit()

    async def work(job):
        await job.step("long", call)

    idle.job("work", work)
    worker = await idle.start_worker(drain_grace=timedelta(seconds=0.01))
    job_id = await idle.submit("work")
    await gate.reached.wait()
    await worker.drain()

    job = await idle.client.get(job_id)
    assert (job.status, job.attempt, cancelled.count) == (JobStatus.QUEUED, 0, 1)


async def test_drain_ends_a_short_wait_before_a_retry(idle):
    async def flaky():
        raise TimeoutError

    async def work(job):
        await job.step("flaky", flaky, retry=RetryPolicy(base_seconds=50, jitter=False))

    idle.job("work", work)
    worker = await idle.start_worker(drain_grace=timedelta(seconds=15))
    job_id = await idle.submit("work")
    await idle.event(job_id, "step.retrying")
    await asyncio.wait_for(worker.drain(), 2)

    assert (await idle.client.get(job_id)).status is JobStatus.QUEUED


async def test_drain_parks_sleeps_signals_and_artifacts_too(idle):
    gate = Gate()

    async def work(job):
        async def after(what):
            await gate.through()
            await what()

        await asyncio.gather(
            after(lambda: job.sleep("nap", timedelta(hours=1))),
            after(lambda: job.wait_for("go")),
            after(lambda: job.save_artifact("a.txt", b"x")),
        )

    idle.job("work", work)
    worker = await idle.start_worker(drain_grace=timedelta(seconds=15))
    job_id = await idle.submit("work")
    await gate.reached.wait(3)
    draining = asyncio.ensure_future(worker.drain())
    await eventually(lambda: all(attempt.draining.is_set() for attempt in worker._attempts.values()))
    gate.open()
    await asyncio.wait_for(draining, 2)

    assert (await idle.client.get(job_id)).status is JobStatus.QUEUED
    assert (await idle.client.records(job_id)).checkpoints == ()


async def test_drain_ends_even_if_job_code_does_not(idle, monkeypatch, caplog):
    monkeypatch.setattr(worker_module, "_TEARDOWN_SECONDS", 0.02)
    gate, let_go = Gate(), asyncio.Event()

    async def work(job):
        gate.reached.hit()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                uncancel()

    idle.job("work", work)
    worker = await idle.start_worker(drain_grace=timedelta(seconds=0.01))
    job_id = await idle.submit("work")
    await gate.reached.wait()
    await asyncio.wait_for(worker.drain(), 2)

    assert (await idle.client.get(job_id)).status is JobStatus.QUEUED
    assert "job code does not end" in caplog.text
    let_go.set()
    await eventually(lambda: worker.running == 0)


async def test_drain_while_registering_anew_does_not_wait_for_the_store(idle):
    worker = await idle.start_worker()
    idle.faults.add(Fault(verb="beat", action=StoreUnavailableError("away"), times=10**6))
    worker._on_pulse(Pulse(alive=False))

    await asyncio.wait_for(worker.drain(), 2)


async def test_sign_off_that_fails_is_left_to_the_rescuer(idle, caplog):
    worker = await idle.start_worker()
    idle.faults.add(Fault(verb="release_worker", action=StoreUnavailableError("away")))

    await worker.drain()

    assert "sign-off failed" in caplog.text


async def test_worker_that_never_started_drains():
    nothing: Any = Nothing()
    services = Services(store=nothing, artifacts=nothing, clock=nothing, resources={})
    worker = worker_module.Worker(services, nothing, nothing)

    await worker.drain()


class Nothing:
    hints = None

    async def release_worker(self, worker_id):
        return ()


# --- claiming ----------------------------------------------------------------------------------------


async def test_worker_runs_no_more_jobs_at_once_than_it_has_slots(idle):
    gate, peak = Gate(), []

    async def work(job):
        peak.append(worker.running)
        await gate.through()

    idle.job("work", work)
    job_ids = [await idle.submit("work") for _ in range(5)]
    worker = await idle.start_worker(slots=2)
    await gate.reached.wait(2)
    assert (await idle.client.get(job_ids[2])).status is JobStatus.QUEUED
    gate.open()
    for job_id in job_ids:
        await idle.end_of(job_id)

    assert max(peak) == 2


async def test_worker_leaves_unknown_kinds_and_other_queues_alone(idle):
    async def work(job):
        return "done"

    idle.job("mine", work)
    idle.job("other", work, queue="slow")
    idle.job("gone", work)
    unknown = await idle.submit("gone")
    slow = await idle.submit("other")
    del idle.registry._kinds["gone"]
    await idle.start_worker(queues=("mine",))

    assert await idle.run("mine") == "done"
    assert (await idle.client.get(unknown)).status is JobStatus.QUEUED
    assert (await idle.client.get(slow)).status is JobStatus.QUEUED


async def test_worker_drained_at_once_leaves_nothing_behind(idle):
    worker = await idle.start_worker()

    await worker.drain()

    assert (await idle.store.inspect()).workers == ()


async def test_claim_that_fails_is_tried_again(idle, clock, caplog):
    async def work(job):
        return 1

    idle.job("work", work)
    idle.faults.add(Fault(verb="claim_jobs", action=StoreUnavailableError("away")))
    job_id = await idle.submit("work")
    await idle.start_worker()
    await passing(clock, idle.end_of(job_id))

    assert "claim failed" in caplog.text


async def test_two_workers_in_one_process_share_the_jobs(folder):
    seen = Mark()

    async def work(job, number: int):
        seen.hit(number)

    async with Harness(folder) as first, Harness(folder) as second:
        for harness in (first, second):
            harness.job("work", work)
            await harness.start_worker(slots=2)
        job_ids = [await first.submit("work", number) for number in range(20)]
        for job_id in job_ids:
            await first.end_of(job_id)

    assert sorted(seen.values) == list(range(20))


async def test_defect_in_a_background_role_is_logged_and_the_role_goes_on(idle, caplog):
    idle.faults.add(Fault(verb="rescue_jobs", action=ValueError("defect")))
    await idle.start_worker()
    await eventually(lambda: "background role failed" in caplog.text)
    again = Mark()
    idle.faults.add(Fault(verb="rescue_jobs", action=again.hit))

    idle.clock.advance(2)

    await again.wait()


# --- settling ------------------------------------------------------------------------------------


async def test_settlement_is_repeated_while_the_store_is_away(lab, job, clock):
    lab.faults.add(Fault(verb="settle_attempt", action=StoreUnavailableError("away"), times=7))

    @job
    async def work(job):
        return 1

    job_id = await lab.submit("work")
    ended = await passing(clock, lab.end_of(job_id))

    assert (ended.output, ended.epoch) == (b"1", 1)


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), StoreError("broken")], ids=repr)
async def test_attempt_that_cannot_be_settled_is_handed_back(lab, job, clock, error, caplog):
    """Also when handing back has to be tried more than once; steps are not repeated."""
    calls = Mark()
    lab.faults.add(Fault(verb="settle_attempt", action=error, times=10 if error.transient else 2))

    @job
    async def work(job):
        await job.step("a", calls.hit)

    job_id = await lab.submit("work")
    ended = await passing(clock, lab.end_of(job_id))

    assert (ended.status, ended.attempt, calls.count) == (JobStatus.COMPLETED, 1, 1)
    assert "attempt not settled" in caplog.text


async def test_handing_back_ends_when_the_lease_is_gone(lab, job, clock, caplog):
    lab.faults.add(Fault(verb="settle_attempt", action=StoreError("broken")))
    lab.faults.add(Fault(verb="settle_attempt", skip=1, action=LeaseLost()))

    @job
    async def work(job):
        pass

    await lab.submit("work")
    await passing(clock, asyncio.wait_for(eventually(lambda: "lease lost" in caplog.text), 5))
    await eventually(lambda: lab.workers[0].running == 0)


async def test_events_that_cannot_be_stored_do_not_fail_the_job(lab, job, caplog):
    lab.faults.add(Fault(verb="append_events", action=StoreUnavailableError("away")))

    @job
    async def work(job):
        job.emit("chapter.done", number=1)
        await job.step("a", undos.put, "a")
        job.emit("chapter.done", number=2)

    job_id = await lab.submit("work")
    ended = await lab.end_of(job_id)

    assert ended.status is JobStatus.COMPLETED
    assert "events dropped" in caplog.text
    assert codec.from_json((await lab.event(job_id, "chapter.done")).data) == {"number": 2}


async def test_dispatch_that_fails_is_only_logged(lab, job, caplog):
    """The store is the truth: the job is durable and will be announced again."""

    async def refuse(dispatches):
        raise DispatchError("broker away")

    lab.client.submissions._dispatcher = type("Broken", (), {"dispatch": staticmethod(refuse)})()

    @job
    async def work(job):
        return 1

    assert await lab.run("work") == 1
    assert "dispatch failed" in caplog.text


async def test_handing_back_ends_when_the_worker_was_signed_off(lab, job, clock, caplog):
    lab.faults.add(Fault(verb="settle_attempt", action=StoreError("broken")))

    @job
    async def work(job):
        pass

    await lab.submit("work")
    await eventually(lambda: "attempt not settled" in caplog.text)
    for attempt in lab.workers[0]._attempts.values():
        attempt.end(Ending.LOST)
    lab.faults.add(Fault(verb="settle_attempt", action=StoreUnavailableError("away")))
    await passing(clock, eventually(lambda: lab.workers[0].running == 0))


async def test_first_reason_to_end_an_attempt_stays_unless_the_lease_is_lost(lab, job):
    gate = Gate()

    @job
    async def work(job):
        await job.step("call", gate.through)

    job_id = await lab.submit("work")
    await gate.reached.wait()
    (attempt,) = lab.workers[0]._attempts.values()
    attempt.end(Ending.CANCEL)
    attempt.end(Ending.HARD_LIMIT)

    assert (await lab.end_of(job_id)).status is JobStatus.CANCELLED
