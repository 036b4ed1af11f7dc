"""Jobs whose tenant has a budget for a period: they wait for room, a raise, or the next period."""

import asyncio
import functools
from datetime import UTC, datetime, timedelta

import pytest

from holdfast import codec
from holdfast.llm.budget import book
from holdfast.model import Budget, BudgetPeriod, CallStatus, JobStatus, SuspendReason
from holdfast.store import usage
from holdfast.store.base import CallOutcome
from holdfast.testing.signals import Gate
from holdfast.testing.store_suite.support import intent
from tests.engine.moving import passing, step_scope

USED = CallOutcome(status=CallStatus.SETTLED, input_tokens=30, output_tokens=20)


@pytest.fixture
def records(lab):
    return lab.real_store.service


async def pay(store, gate=None):
    """Make a call of up to a hundred tokens that uses fifty."""
    scope = step_scope()
    call = intent(f"call-{scope.lease.job_id}-{scope.step_key}", step_key=scope.step_key)
    await store.reserve_call(scope.lease, call)
    if gate is not None:
        await gate.through()
    await book(store, scope, call.call_id, USED)
    return "answer"


async def test_job_waits_for_the_next_period(lab, records, job, clock):
    await records.set_tenant_budget("acme", BudgetPeriod.DAY, Budget(tokens=120))

    @job
    async def work(job):
        await job.step("first", functools.partial(pay, lab.store))
        return await job.step("second", functools.partial(pay, lab.store))

    job_id = await lab.submit("work", tenant="acme")
    waiting = await lab.until(job_id, JobStatus.SUSPENDED)
    ended = await passing(clock, lab.end_of(job_id), seconds=3600)

    assert waiting.suspend_reason is SuspendReason.BUDGET
    assert waiting.available_at == datetime(2030, 1, 2, tzinfo=UTC)
    assert (ended.status, ended.attempt, ended.usage.calls) == (JobStatus.COMPLETED, 1, 2)


async def test_raise_lets_a_job_go_on_at_once(lab, records, job, clock):
    await records.set_tenant_budget("acme", BudgetPeriod.MONTH, Budget(tokens=10))

    @job
    async def work(job):
        return await job.step("only", functools.partial(pay, lab.store))

    job_id = await lab.submit("work", tenant="acme")
    await lab.until(job_id, JobStatus.SUSPENDED)
    raised_at = clock.now()
    await records.set_tenant_budget("acme", BudgetPeriod.MONTH, Budget(tokens=100))
    ended = await passing(clock, lab.end_of(job_id))

    assert ended.status is JobStatus.COMPLETED
    assert clock.now() - raised_at < timedelta(minutes=1)


async def test_job_tries_again_while_others_of_its_tenant_may_give_back(lab, records, job, clock):
    """What the other call did not use is enough; nobody raises anything, and no day goes by."""
    await records.set_tenant_budget("acme", BudgetPeriod.DAY, Budget(tokens=150))
    gate = Gate()

    @job
    async def holds(job):
        return await job.step("call", functools.partial(pay, lab.store, gate))

    @job
    async def work(job):
        return await job.step("call", functools.partial(pay, lab.store))

    busy = await lab.submit("holds", tenant="acme")
    await gate.reached.wait()
    job_id = await lab.submit("work", tenant="acme")
    waiting = await lab.until(job_id, JobStatus.SUSPENDED)
    gate.open()
    await lab.end_of(busy)
    ended = await passing(clock, lab.end_of(job_id), seconds=10)

    assert waiting.available_at == waiting.created_at + timedelta(minutes=1)
    assert ended.status is JobStatus.COMPLETED


async def test_raise_reaches_a_branch_that_waits_beside_one_that_works(lab, records, job):
    await records.set_tenant_budget("acme", BudgetPeriod.DAY, Budget(tokens=10))
    gate = Gate()

    @job
    async def work(job):
        call = functools.partial(pay, lab.store)
        return await asyncio.gather(job.step("call", call), job.step("other", gate.through))

    job_id = await lab.submit("work", tenant="acme")
    await gate.reached.wait()
    await lab.event(job_id, "budget.exceeded")
    await records.set_tenant_budget("acme", BudgetPeriod.DAY, Budget(tokens=100))
    await lab.event(job_id, "step.completed")
    gate.open()
    ended = await lab.end_of(job_id)

    assert (ended.status, ended.epoch) == (JobStatus.COMPLETED, 1)
    changed = codec.from_json((await lab.event(job_id, "budget.changed")).data)
    assert (changed["tenant"], changed["period"]) == ("acme", "day")


async def test_branch_that_waits_beside_one_that_works_tries_again_in_the_next_period(
    lab, records, job, clock
):
    await records.set_tenant_budget("acme", BudgetPeriod.DAY, Budget(tokens=120))
    gate = Gate()

    @job
    async def work(job):
        await job.step("first", functools.partial(pay, lab.store))
        second = job.step("second", functools.partial(pay, lab.store))
        return await asyncio.gather(second, job.step("other", gate.through))

    job_id = await lab.submit("work", tenant="acme")
    await gate.reached.wait()
    await lab.event(job_id, "budget.exceeded")
    await passing(clock, lab.event(job_id, "step.completed", number=2), seconds=3600)
    gate.open()

    assert (await lab.end_of(job_id)).epoch == 1


async def test_calls_of_tenants_without_a_budget_are_written_together_with_others(lab, job, monkeypatch):
    """Nothing but the look that is made anyway tells that there is none."""
    alone = []

    def watched(write):
        def call(tx, **options):
            alone.append(options["alone"])
            return write(tx, **options)

        return call

    for verb in ("reserve_call", "settle_call"):
        monkeypatch.setattr(usage, verb, watched(getattr(usage, verb)))

    @job
    async def work(job):
        return await job.step("only", functools.partial(pay, lab.store))

    ended = await lab.end_of(await lab.submit("work", tenant="acme"))

    assert (ended.status, ended.usage.calls) == (JobStatus.COMPLETED, 1)
    assert alone == [False, False]
