import asyncio
from datetime import timedelta
from decimal import Decimal

import pydantic
import pytest

from holdfast import codec
from holdfast.errors import JobFailedError, JobFinishedError, UnserializableValueError
from holdfast.model import Budget, CallStatus, JobStatus, SuspendReason
from holdfast.store.base import CallIntent, CallOutcome
from holdfast.testing.faults import Fault
from holdfast.testing.signals import Gate, Mark
from tests.engine.moving import once_more, passing, step_scope


class Verdict(pydantic.BaseModel):
    approved: bool


async def test_sleep_holds_no_slot_and_no_attempt(lab, job, clock):
    @job
    async def work(job):
        await job.sleep("nap", timedelta(hours=2))
        return job.attempt

    job_id = await lab.submit("work")
    suspended = await lab.until(job_id, JobStatus.SUSPENDED)
    assert suspended.suspend_reason is SuspendReason.SLEEP
    assert suspended.available_at == clock.now() + timedelta(hours=2)
    ended = await passing(clock, lab.end_of(job_id), seconds=600)

    assert ended.output == b"1"
    assert ended.epoch == 2


async def test_sleep_counts_from_the_first_time_it_was_reached(lab, job, clock):
    """Another attempt in between does not make it longer."""
    tries = Mark()

    @job
    async def work(job):
        async def other():
            await job.wait_for("poke")
            tries.hit()

        await asyncio.gather(job.sleep("nap", timedelta(hours=1)), other())

    job_id = await lab.submit("work")
    began = clock.now()
    await lab.until(job_id, JobStatus.SUSPENDED)
    clock.advance(1800)
    await lab.client.signal(job_id, "poke")
    await tries.wait()
    suspended = await lab.event(job_id, "job.suspended", number=2)

    assert codec.from_json(suspended.data)["reason"] == "sleep"
    assert (await lab.client.get(job_id)).available_at == began + timedelta(hours=1)


async def test_sleep_that_is_over_returns_at_once(lab, job, clock):
    @job
    async def work(job):
        await job.sleep("nap", timedelta(seconds=-1))
        await job.sleep("zero", timedelta(0))

    assert (await lab.end_of(await lab.submit("work"))).epoch == 1


async def test_signal_that_comes_before_the_wait_is_taken(lab, job):
    gate = Gate()

    @job
    async def work(job):
        await job.step("before", gate.through)
        return await job.wait_for("go")

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await lab.client.signal(job_id, "go", {"by": "ada"})
    gate.open()
    ended = await lab.end_of(job_id)

    assert codec.from_json(ended.output) == {"by": "ada"}
    assert ended.epoch == 1


async def test_signal_wakes_a_suspended_job_with_its_typed_payload(lab, job):
    seen = []

    @job
    async def work(job):
        seen.append(await job.wait_for("verdict", returns=Verdict))

    job_id = await lab.submit("work")
    assert (await lab.until(job_id, JobStatus.SUSPENDED)).suspend_reason is SuspendReason.SIGNAL
    await lab.client.signal(job_id, "other", 1)
    await lab.client.signal(job_id, "verdict", {"approved": True})
    await lab.end_of(job_id)

    assert seen == [Verdict(approved=True)]


async def test_payload_that_does_not_fit_fails_by_name(lab, job):
    @job
    async def work(job):
        await job.wait_for("verdict", returns=Verdict)

    job_id = await lab.submit("work")
    await lab.client.signal(job_id, "verdict", "yes")

    with pytest.raises(JobFailedError, match="payload of signal 'verdict' does not fit"):
        await lab.client.result(job_id)


async def test_two_waits_for_one_name_take_signals_in_order_each_its_own(lab, job):
    retry = once_more()

    @job
    async def work(job):
        first = await job.wait_for("chapter", key="first")
        second = await job.wait_for("chapter", key="second")
        await retry()
        return [first, second]

    job_id = await lab.submit("work")
    await lab.client.signal(job_id, "chapter", 1)
    await lab.client.signal(job_id, "chapter", 2)

    assert codec.from_json((await lab.end_of(job_id)).output) == [1, 2]


async def test_two_waits_at_once_never_share_a_signal(lab, job):
    @job
    async def work(job):
        return await asyncio.gather(job.wait_for("x", key="a"), job.wait_for("x", key="b"))

    job_id = await lab.submit("work")
    await lab.until(job_id, JobStatus.SUSPENDED)
    await lab.client.signal(job_id, "x", 1)
    await lab.event(job_id, "job.suspended", number=2)
    await lab.client.signal(job_id, "x", 2)

    assert sorted(codec.from_json((await lab.end_of(job_id)).output)) == [1, 2]


async def test_signal_reaches_a_waiting_branch_while_another_runs(lab, job):
    gate, got = Gate(), Mark()

    @job
    async def work(job):
        async def listen():
            got.hit(await job.wait_for("go"))

        await asyncio.gather(listen(), job.step("call", gate.through))

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await lab.client.signal(job_id, "other")
    await lab.client.signal(job_id, "go", 5)

    assert await got.wait() == 5
    gate.open()
    assert (await lab.end_of(job_id)).epoch == 1


async def test_signal_sent_before_a_branch_waits_reaches_it_while_another_runs(lab, job):
    """It was sent when the attempt did not yet wait for anything, so nobody was told."""
    gate, begun, got = Gate(), Gate(), Mark()

    @job
    async def work(job):
        async def listen():
            await job.step("begun", begun.through)
            got.hit(await job.wait_for("go"))

        await asyncio.gather(listen(), job.step("call", gate.through))

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await begun.reached.wait()
    await lab.client.signal(job_id, "go", 5)
    begun.open()

    assert await got.wait() == 5
    gate.open()
    await lab.end_of(job_id)


async def test_signal_in_the_instant_of_suspending_is_not_missed(lab, job):
    """It is appended after the job function was ended and before the attempt is settled."""
    sent = Mark()

    def send():
        sent.hit(asyncio.ensure_future(lab.real_store.signal_job(job_id, "go", b"7")))

    lab.faults.add(Fault(verb="settle_attempt", action=send))

    @job
    async def work(job):
        return await job.wait_for("go")

    job_id = await lab.submit("work")
    ended = await lab.end_of(job_id)

    assert ended.output == b"7"


async def test_wait_times_out_durably(lab, job, clock):
    """The limit counts from the first attempt that reached it, and ends the same ever after."""
    retry = once_more()
    ends = []

    @job
    async def work(job):
        try:
            await job.wait_for("go", timeout=timedelta(hours=1))
        except TimeoutError as error:
            ends.append(str(error))
        await retry()

    job_id = await lab.submit("work")
    began = clock.now()
    suspended = await lab.until(job_id, JobStatus.SUSPENDED)
    assert suspended.available_at == began + timedelta(hours=1)
    clock.advance(1800)
    await lab.client.signal(job_id, "other")
    await lab.event(job_id, "job.suspended", number=2)
    assert (await lab.client.get(job_id)).available_at == began + timedelta(hours=1)
    await passing(clock, lab.end_of(job_id), seconds=600)

    assert len(ends) == 2
    assert "no signal 'go' came in time for step 'signal/go'" in ends[0]


async def test_wait_times_out_while_another_branch_runs(lab, job, clock):
    gate, timed_out = Gate(), Mark()

    @job
    async def work(job):
        async def listen():
            try:
                await job.wait_for("go", timeout=timedelta(seconds=5))
            except TimeoutError:
                timed_out.hit()

        await asyncio.gather(listen(), job.step("call", gate.through))

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await passing(clock, timed_out.wait())
    gate.open()

    assert (await lab.end_of(job_id)).epoch == 1


async def test_signal_to_a_finished_job_is_refused(lab, job):
    @job
    async def work(job):
        pass

    job_id = await lab.submit("work")
    await lab.end_of(job_id)

    with pytest.raises(JobFinishedError):
        await lab.client.signal(job_id, "go")


async def test_signal_payload_must_be_json(lab, job):
    @job
    async def work(job):
        await job.wait_for("go")

    job_id = await lab.submit("work")

    with pytest.raises(UnserializableValueError):
        await lab.client.signal(job_id, "go", object())


# --- budget and quota ----------------------------------------------------------------------------


class Paid:
    """A step function that reserves a hundred tokens."""

    def __init__(self, store):
        self.tries = Mark()
        self._store = store

    async def __call__(self):
        scope = step_scope()
        self.tries.hit()
        intent = CallIntent(
            call_id=f"call-{scope.lease.epoch}-{scope.step_key}-{self.tries.count}",
            step_key=scope.step_key,
            step_attempt=scope.step_attempt,
            provider="p",
            model="m",
            reserved_tokens=100,
            reserved_usd=Decimal("0.01"),
        )
        await self._store.reserve_call(scope.lease, intent)
        return "answer"


async def test_reached_budget_suspends_and_a_higher_one_wakes(lab, job):
    call = Paid(lab.store)

    @job(budget=Budget(tokens=50))
    async def work(job):
        return await job.step("call", call)

    job_id = await lab.submit("work")
    suspended = await lab.until(job_id, JobStatus.SUSPENDED)
    assert (suspended.suspend_reason, suspended.available_at) == (SuspendReason.BUDGET, None)
    await lab.client.set_budget(job_id, Budget(tokens=500))
    ended = await lab.end_of(job_id)

    assert (ended.status, ended.attempt) == (JobStatus.COMPLETED, 1)
    assert (await lab.client.records(job_id)).checkpoints[0].attempts == 1


async def test_raised_budget_reaches_a_waiting_branch_while_another_runs(lab, job):
    call, gate = Paid(lab.store), Gate()

    @job(budget=Budget(tokens=50))
    async def work(job):
        return await asyncio.gather(job.step("call", call), job.step("other", gate.through))

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await call.tries.wait()
    await lab.client.set_budget(job_id, Budget(tokens=500))
    await lab.event(job_id, "step.completed")
    gate.open()

    assert (await lab.end_of(job_id)).epoch == 1


async def test_budget_raised_between_the_refusal_and_the_wait_is_not_missed(lab, job):
    call, gate = Paid(lab.store), Gate()

    async def refused_then_raised():
        try:
            return await call()
        except Exception:
            if call.tries.count == 1:
                await lab.client.set_budget(job_id, Budget(tokens=500))
                await heard.wait()
            raise

    heard = Mark()
    announce = lab.workers[0]._announce_changes

    def announced():
        announce()
        heard.hit()

    lab.workers[0]._announce_changes = announced

    @job(budget=Budget(tokens=50))
    async def work(job):
        return await asyncio.gather(
            job.step("call", refused_then_raised), job.step("other", gate.through)
        )

    job_id = await lab.submit("work")
    await lab.event(job_id, "step.completed")
    gate.open()

    assert (await lab.end_of(job_id)).epoch == 1


@pytest.mark.timeout(5)
async def test_signal_wakes_a_job_whose_other_branch_waits_for_budget(lab, job):
    """Both branches can go on; the reason on record is only the one that people can act on."""
    call, got = Paid(lab.store), Mark()

    @job(budget=Budget(tokens=50))
    async def work(job):
        async def listen():
            got.hit(await job.wait_for("go"))

        await asyncio.gather(job.step("call", call), listen())

    job_id = await lab.submit("work")
    assert (await lab.until(job_id, JobStatus.SUSPENDED)).suspend_reason is SuspendReason.BUDGET
    await lab.client.signal(job_id, "go", 1)
    await asyncio.wait_for(got.wait(), 0.5)
    await lab.client.set_budget(job_id, Budget(tokens=500))
    assert (await lab.end_of(job_id)).status is JobStatus.COMPLETED


async def test_parked_lane_suspends_until_it_may_be_open(lab, job, clock):
    from holdfast.errors import LaneHeldError

    until = clock.now() + timedelta(hours=1)
    tries = Mark()

    async def call():
        tries.hit()
        if tries.count == 1:
            raise LaneHeldError("quota exhausted", until=until)
        return "answer"

    @job
    async def work(job):
        return await job.step("call", call)

    job_id = await lab.submit("work")
    suspended = await lab.until(job_id, JobStatus.SUSPENDED)
    assert (suspended.suspend_reason, suspended.available_at) == (SuspendReason.QUOTA, until)
    ended = await passing(clock, lab.end_of(job_id), seconds=600)

    assert (ended.output, ended.attempt) == (b'"answer"', 1)


async def test_branches_that_all_wait_for_budget_suspend_instead_of_waking_each_other(lab, job):
    call = Paid(lab.store)

    @job(budget=Budget(tokens=50))
    async def work(job):
        return await asyncio.gather(*(job.step(name, call) for name in "abcd"))

    job_id = await lab.submit("work")
    suspended = await lab.until(job_id, JobStatus.SUSPENDED)

    assert suspended.suspend_reason is SuspendReason.BUDGET
    assert call.tries.count <= 8


async def test_branch_refused_by_the_budget_tries_again_when_another_steps_reservation_is_free(lab, job):
    """What a settled call did not use is there for those that wait, without anyone raising it."""
    call, gate = Paid(lab.store), Gate()
    settled = CallOutcome(status=CallStatus.SETTLED, input_tokens=1, usd=Decimal(0))

    async def first():
        await call()
        await gate.through()
        lease = step_scope().lease
        await lab.store.settle_call(lease, f"call-{lease.epoch}-first-1", settled)

    @job(budget=Budget(tokens=150))
    async def work(job):
        async def second():
            await gate.reached.wait()
            return await job.step("second", call)

        return await asyncio.gather(job.step("first", first), second())

    job_id = await lab.submit("work")
    await call.tries.wait(2)
    gate.open()
    ended = await lab.end_of(job_id)

    assert (ended.status, ended.epoch) == (JobStatus.COMPLETED, 1)
