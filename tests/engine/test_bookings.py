"""Calls that could not be booked at once: the attempt owes it, and pays before it ends."""

import functools
from decimal import Decimal

import pytest

from holdfast.errors import StoreCorruptError, StoreFullError, StoreUnavailableError
from holdfast.llm.budget import book
from holdfast.model import Budget, CallStatus, JobStatus
from holdfast.store.base import CallIntent, CallOutcome
from holdfast.testing.faults import Fault
from holdfast.testing.signals import Mark
from tests.engine.moving import passing, step_scope

SETTLED = CallOutcome(status=CallStatus.SETTLED, input_tokens=1, usd=Decimal(0))
USED_UP = StoreFullError("no room left")


async def pay(store, *, tokens=100):
    """Reserve a call and book it, as a model call does."""
    scope = step_scope()
    intent = CallIntent(
        call_id=f"call-{scope.lease.epoch}-{scope.step_key}",
        step_key=scope.step_key,
        step_attempt=scope.step_attempt,
        provider="p",
        model="m",
        reserved_tokens=tokens,
        reserved_usd=Decimal(0),
    )
    await store.reserve_call(scope.lease, intent)
    await book(store, scope, intent.call_id, SETTLED)
    return "answer"


async def test_call_is_booked_right_after_its_result_once_the_trouble_has_passed(lab, job):
    lab.faults.add(Fault(verb="settle_call", action=USED_UP))
    booked = Mark()

    @job
    async def work(job):
        await job.step("call", functools.partial(pay, lab.store))
        booked.hit((await lab.client.get(job.job_id)).usage)

    job_id = await lab.submit("work")
    usage = await booked.wait()
    await lab.end_of(job_id)

    assert (usage.calls, usage.input_tokens) == (1, 1)
    assert lab.faults.calls.count("settle_call") == 2


async def test_call_that_cannot_be_booked_costs_neither_its_result_nor_its_booking(lab, job, clock):
    """However long it takes, the attempt ends only when the ledger is complete."""
    lab.faults.add(Fault(verb="settle_call", action=StoreUnavailableError("away"), times=30))

    @job
    async def work(job):
        return await job.step("call", functools.partial(pay, lab.store))

    ended = await passing(clock, lab.end_of(await lab.submit("work")))
    [call] = (await lab.client.records(ended.job_id)).calls

    assert (ended.status, ended.output, ended.attempt) == (JobStatus.COMPLETED, b'"answer"', 1)
    assert call.status is CallStatus.SETTLED
    assert (ended.usage.calls, ended.usage.uncertain_calls) == (1, 0)


async def test_budget_that_an_unbooked_call_holds_is_not_waited_for_in_vain(lab, job, clock):
    """Suspended, the job would wait for a raise of a budget that has room."""
    lab.faults.add(Fault(verb="settle_call", action=USED_UP, times=3))

    @job(budget=Budget(tokens=150))
    async def work(job):
        await job.step("first", functools.partial(pay, lab.store))
        return await job.step("second", functools.partial(pay, lab.store))

    ended = await passing(clock, lab.end_of(await lab.submit("work")))

    assert (ended.status, ended.attempt) == (JobStatus.COMPLETED, 1)
    assert "job.suspended" not in await lab.event_types(ended.job_id)
    assert ended.usage.calls == 2


async def test_lost_lease_leaves_what_is_owed_uncertain(lab, job):
    lab.faults.add(Fault(verb="settle_call", action=USED_UP))
    gone = Mark()

    @job
    async def work(job):
        if job.attempt == 1 and not gone.count:
            await job.step("call", functools.partial(lose_lease, lab, gone))
        return "done"

    await lab.start_worker()
    job_id = await lab.submit("work")
    await gone.wait()
    ended = await lab.end_of(job_id)
    [call] = (await lab.client.records(job_id)).calls

    assert (ended.output, ended.epoch) == (b'"done"', 2)
    assert call.status is CallStatus.UNCERTAIN


async def lose_lease(lab, gone):
    """Pay, and have the worker signed off before the step's result is stored."""
    answer = await pay(lab.store)
    await lab.real_store.rescue_jobs((step_scope().lease.worker_id,))
    gone.hit()
    return answer


async def test_defect_in_a_booking_is_not_taken_for_passing_trouble(lab, job):
    lab.faults.add(Fault(verb="settle_call", action=USED_UP))
    lab.faults.add(Fault(verb="settle_call", action=StoreCorruptError("torn page"), skip=1))

    @job
    async def work(job):
        return await job.step("call", functools.partial(pay, lab.store))

    ended = await lab.end_of(await lab.submit("work"))

    assert ended.status is JobStatus.FAILED
    assert ended.error is not None
    assert ended.error.code == StoreCorruptError.code


@pytest.mark.parametrize("times", [1, 2])
async def test_owed_call_is_booked_when_its_step_fails(lab, job, clock, times):
    lab.faults.add(Fault(verb="settle_call", action=USED_UP, times=times))

    async def fail():
        await pay(lab.store)
        raise ValueError("no sense in it")

    @job
    async def work(job):
        await job.step("call", fail)

    ended = await passing(clock, lab.end_of(await lab.submit("work")))

    assert (ended.status, ended.usage.calls, ended.usage.uncertain_calls) == (JobStatus.FAILED, 1, 0)
