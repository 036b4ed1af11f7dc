"""Child jobs: spawned once, waited for without a slot, ended and paid for with their parent."""

import asyncio
import itertools
from datetime import timedelta
from decimal import Decimal

import pydantic
import pytest

from holdfast import codec
from holdfast.errors import (
    DispatchError,
    FatalError,
    JobCancelledError,
    JobFailedError,
    JobFinishedError,
    MapFailedError,
    RetryLaterError,
    StoreUnavailableError,
)
from holdfast.model import Budget, CallStatus, Concurrency, JobStatus, SuspendReason
from holdfast.store.base import CallIntent, CallOutcome, JobQuery
from holdfast.testing.faults import Fault
from holdfast.testing.signals import Gate, Mark
from tests.engine import undos
from tests.engine.moving import once_more, passing, step_scope


class Page(pydantic.BaseModel):
    number: int
    text: str = ""


async def children_of(lab, job_id):
    """A parent's children by the order of their spawning."""
    found = await lab.store.list_jobs(JobQuery(parent_id=job_id))
    return sorted(found, key=lambda job: job.input)


@pytest.fixture
async def page(job):
    """A kind of child that fails or waits as its number says."""
    gates: dict[int, Gate] = {}
    ran = Mark()

    @job
    async def page(job, number: int) -> Page:
        ran.hit(number)
        if number in gates:
            await job.step("gate", gates[number].through)
        if number < 0:
            raise FatalError(f"page {number} is torn")
        return Page(number=number)

    page.gates, page.ran = gates, ran
    return page


# results ---------------------------------------------------------------------------------------


async def test_results_come_in_order_and_typed_as_the_kind_declares(lab, job, page):
    seen = []

    @job
    async def book(job):
        children = [await job.spawn(f"page/{n}", page, n) for n in (3, 1, 2)]
        seen.append(await job.gather(*children))

    ended = await lab.end_of(await lab.submit("book"))

    assert ended.status is JobStatus.COMPLETED
    assert seen == [[Page(number=3), Page(number=1), Page(number=2)]]


async def test_parent_holds_no_slot_and_is_woken_once_by_many(lab, job, page):
    page.gates.update({n: Gate() for n in range(5)})

    @job
    async def book(job):
        children = [await job.spawn(f"page/{n}", "page", n) for n in range(5)]
        return len(await job.gather(*children))

    job_id = await lab.submit("book")
    suspended = await lab.until(job_id, JobStatus.SUSPENDED)
    for gate in page.gates.values():
        gate.open()
    ended = await lab.end_of(job_id)

    assert (suspended.suspend_reason, suspended.available_at) == (SuspendReason.CHILDREN, None)
    assert (ended.output, ended.epoch, ended.attempt) == (b"5", 2, 1)
    assert page.ran.count == 5


async def test_result_that_is_kept_is_not_asked_for_again(lab, job, page):
    """Not by a later attempt, and not by another wait of the same one."""
    retry = once_more()

    @job
    async def book(job):
        child = await job.spawn("page", page, 7)
        first = await child.result()
        await retry()
        return [first == again for again in (await child.result(), *await job.gather(child, child))]

    ended = await lab.end_of(await lab.submit("book"))

    assert codec.from_json(ended.output) == [True, True, True]
    assert page.ran.count == 1
    records = await lab.client.records(ended.job_id)
    assert [found.key for found in records.checkpoints] == ["page"]


async def test_large_output_is_kept_in_artifact_storage(lab, job):
    @job
    async def novel(job) -> str:
        return "x" * 300_000

    @job
    async def book(job):
        child = await job.spawn("novel", novel)
        return len(await child.result())

    ended = await lab.end_of(await lab.submit("book"))

    [kept] = (await lab.client.records(ended.job_id)).checkpoints
    assert ended.output == b"300000"
    assert kept.blob is not None


async def test_two_waits_and_a_step_go_on_in_parallel(lab, job, page):
    """Each branch goes on when its own child has ended, whatever the others wait for."""
    page.gates[2] = Gate()
    step, after = Gate(), Mark()

    @job
    async def book(job):
        first = await job.spawn("page/1", page, 1)
        second = await job.spawn("page/2", page, 2)

        async def print_it(child):
            found = await child.result()
            await job.step(f"print/{found.number}", after.hit, found.number)

        await asyncio.gather(print_it(first), print_it(second), job.step("cover", step.through))

    job_id = await lab.submit("book")
    assert await after.wait() == 1
    await page.gates[2].reached.wait()
    step.open()
    await lab.until(job_id, JobStatus.SUSPENDED)
    page.gates[2].open()
    ended = await lab.end_of(job_id)

    assert ended.status is JobStatus.COMPLETED
    assert after.values == [1, 2]


async def test_parent_that_waits_for_one_of_two_is_woken_by_it(lab, job, page):
    page.gates.update({1: Gate(), 2: Gate()})
    printed = Mark()

    @job
    async def book(job):
        first = await job.spawn("page/1", page, 1)
        second = await job.spawn("page/2", page, 2)
        await first.result()
        await job.step("print", printed.hit)
        await second.result()

    job_id = await lab.submit("book")
    await lab.until(job_id, JobStatus.SUSPENDED)
    page.gates[1].open()
    await printed.wait()
    page.gates[2].open()

    assert (await lab.end_of(job_id)).status is JobStatus.COMPLETED


# spawning --------------------------------------------------------------------------------------


async def test_child_is_of_its_parents_tenant_subject_and_priority(lab, job, page):
    @job
    async def book(job):
        await job.spawn("page/1", page, 1)
        await job.spawn("page/2", page, 2, priority=9, queue="fast", budget=Budget(tokens=5))

    submitted = await lab.client.submit("book", tenant="acme", subject="person-7", priority=3)
    await lab.end_of(submitted.job_id)
    first, second = await children_of(lab, submitted.job_id)

    assert (first.tenant, first.subject, first.priority, first.queue) == ("acme", "person-7", 3, "page")
    assert (second.priority, second.queue, second.budget.tokens) == (9, "fast", 5)
    assert first.job_id[:14] == submitted.job_id[:14]


async def test_spawned_again_with_another_input_stays_the_first(lab, job, page):
    """Code between steps runs again, and may come to another input."""
    retry, inputs = once_more(), itertools.count(1)
    page.gates.update({1: Gate()})

    @job
    async def book(job):
        child = await job.spawn("page", page, next(inputs))
        await retry()
        page.gates[1].open()
        return (await child.result()).number

    ended = await lab.end_of(await lab.submit("book"))

    assert ended.output == b"1"
    assert len(await children_of(lab, ended.job_id)) == 1


async def test_spawned_again_as_another_kind_fails_by_name(lab, job, page):
    retry, kinds = once_more(), iter(("page", "other"))
    page.gates.update({1: Gate()})

    @job
    async def other(job, number: int):
        return number

    @job
    async def book(job):
        await job.spawn("page", next(kinds), 1)
        await retry()

    job_id = await lab.submit("book")

    with pytest.raises(JobFailedError, match="is a 'page' already, not a 'other'"):
        await lab.client.result(job_id)


async def test_misspelt_kind_fails_the_parent_and_names_the_known_ones(lab, job, page):
    @job
    async def book(job):
        await job.spawn("page", "pgae", 1)

    with pytest.raises(JobFailedError, match=r"'pgae' is not registered; .*'book', 'page'"):
        await lab.run("book")


async def test_function_that_is_no_job_is_refused(lab, job):
    async def draft(job):
        return 1

    @job
    async def book(job):
        await job.spawn("draft", draft)

    with pytest.raises(JobFailedError, match=r"draft' is not registered"):
        await lab.run("book")


async def test_function_with_two_kinds_has_to_be_named(lab, job, page):
    lab.job("leaf", page)

    @job
    async def book(job):
        await job.spawn("page", page, 1)

    with pytest.raises(JobFailedError, match="registered as 'page', 'leaf'"):
        await lab.run("book")


async def test_kind_of_other_workers_is_spawned_by_naming_its_queue(lab, job):
    @job
    async def book(job):
        await job.spawn("print", "printing", {"pages": 3}, queue="printers")

    ended = await lab.end_of(await lab.submit("book"))
    [child] = await children_of(lab, ended.job_id)

    assert (child.kind, child.queue, child.status) == ("printing", "printers", JobStatus.QUEUED)
    assert codec.from_json(child.input) == {"pages": 3}


async def test_output_of_an_unknown_kind_is_read_as_the_parent_says(folder, lab, job):
    from holdfast.testing.harness import Harness

    seen = []

    @job
    async def book(job):
        child = await job.spawn("page", "printing", 4, queue="printers", returns=Page)
        seen.append(await child.result())

    job_id = await lab.submit("book")
    await lab.until(job_id, JobStatus.SUSPENDED)
    async with Harness(folder, clock=lab.clock) as elsewhere:

        async def printing(job, number: int) -> Page:
            return Page(number=number, text="printed")

        elsewhere.job("printing", printing)
        await elsewhere.start_worker(lease_seconds=1_000_000)
        await passing(lab.clock, lab.end_of(job_id))

    assert seen == [Page(number=4, text="printed")]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda job: job.gather("page"), "gather of job .* got str"),
        (lambda job: job.gather(on_error="later"), "gather has on_error='later'"),
        (lambda job: job.spawn("holdfast:x", "page", 1), "kept for the engine"),
        (lambda job: job.spawn("x", "page", "many"), "does not fit its model"),
        (lambda job: job.spawn("x", "page", 1, concurrency_key="k"), "declares no limit"),
        (lambda job: job.spawn("x", "y", 1, queue="q", concurrency_key="k"), "not registered here"),
    ],
)
async def test_wrong_use_is_refused_by_name(lab, job, page, use, message):
    @job
    async def book(job):
        await use(job)

    with pytest.raises(JobFailedError, match=message):
        await lab.run("book")


async def test_key_of_a_child_is_a_step_key(lab, job, page):
    @job
    async def book(job):
        await job.step("page", str, 1)
        await job.spawn("page", page, 1)

    with pytest.raises(JobFailedError, match="'page' was used twice"):
        await lab.run("book")


async def test_gather_of_nothing_is_empty(lab, job):
    @job
    async def book(job):
        return await job.gather()

    assert await lab.run("book") == []


# failure ---------------------------------------------------------------------------------------


async def test_first_failure_cancels_the_others_and_is_raised_when_they_have_ended(lab, job, page):
    page.gates.update({1: Gate(), -2: Gate()})
    seen = []

    @job
    async def book(job):
        children = [await job.spawn(f"page/{n}", page, n) for n in (1, -2, 3)]
        try:
            await job.gather(*children)
        except JobFailedError as error:
            seen.append(str(error))
        return [(await lab.store.get_job(child.job_id)).status.value for child in children]

    job_id = await lab.submit("book")
    await lab.until(job_id, JobStatus.SUSPENDED)
    await page.gates[1].reached.wait()
    page.gates[-2].open()
    ended = await lab.end_of(job_id)

    assert codec.from_json(ended.output) == ["cancelled", "failed", "completed"]
    assert "page -2 is torn" in seen[0]


async def test_finish_lets_the_others_go_on_and_tells_all_failures(lab, job, page):
    seen = []

    @job
    async def book(job):
        children = [await job.spawn(f"page/{n}", page, n) for n in (-1, 2, -3)]
        try:
            await job.gather(*children, on_error="finish")
        except MapFailedError as error:
            seen.append(error)
        return (await children[1].result()).number

    ended = await lab.end_of(await lab.submit("book"))

    assert ended.output == b"2"
    assert "2 of 3 child jobs failed" in str(seen[0])
    assert {key: type(error) for key, error in seen[0].failures.items()} == {
        "page/-1": JobFailedError,
        "page/-3": JobFailedError,
    }


async def test_child_that_somebody_cancels_tells_so(lab, job, page):
    page.gates[1] = Gate()
    seen = []

    @job
    async def book(job):
        child = await job.spawn("page", page, 1)
        try:
            await child.result()
        except JobCancelledError as error:
            seen.append(str(error))

    job_id = await lab.submit("book")
    await lab.until(job_id, JobStatus.SUSPENDED)
    [child] = await children_of(lab, job_id)
    await lab.client.cancel(child.job_id)
    await lab.end_of(job_id)

    assert seen == [f"job {child.job_id!r} (kind 'page') was cancelled"]


async def test_failure_that_nobody_catches_fails_the_parent_and_retry_runs_only_what_failed(lab, job):
    ran = Mark()
    broken = {2}

    @job
    async def leaf(job, number: int) -> int:
        ran.hit(number)
        if number in broken:
            raise FatalError("torn")
        return number

    @job
    async def book(job):
        children = [await job.spawn(f"leaf/{n}", leaf, n) for n in (1, 2, 3)]
        return await job.gather(*children, on_error="finish")

    job_id = await lab.submit("book")
    assert (await lab.end_of(job_id)).status is JobStatus.FAILED
    broken.clear()
    await lab.client.retry(job_id)
    ended = await lab.end_of(job_id)

    assert codec.from_json(ended.output) == [1, 2, 3]
    assert sorted(ran.values) == [1, 2, 2, 3]


async def test_child_that_is_retried_before_its_parent_looks_is_waited_for(lab, job):
    """What the parent was told of it is not the truth any more."""
    before, again, broken = Gate(), Gate(), [True]

    @job
    async def leaf(job):
        if broken:
            raise FatalError("torn")
        await job.step("again", again.through)
        return 1

    @job
    async def book(job):
        child = await job.spawn("leaf", leaf)
        await job.step("before", before.through)
        return await child.result()

    job_id = await lab.submit("book")
    await before.reached.wait()
    [child] = await children_of(lab, job_id)
    await lab.end_of(child.job_id)
    broken.clear()
    await lab.client.retry(child.job_id)
    await again.reached.wait()
    before.open()
    await lab.until(job_id, JobStatus.SUSPENDED)
    again.open()

    assert (await lab.end_of(job_id)).output == b"1"


async def test_child_that_ends_while_it_is_to_be_cancelled_is_let_be(lab, job, page):
    page.gates.update({1: Gate(), -2: Gate()})

    @job
    async def book(job):
        await job.gather(*[await job.spawn(f"page/{n}", page, n) for n in (1, -2)])

    job_id = await lab.submit("book")
    await lab.until(job_id, JobStatus.SUSPENDED)
    gone = JobFinishedError(job_id="job_1", status="completed", action="be cancelled")
    fault = lab.faults.add(Fault(verb="cancel_job", action=gone))
    page.gates[-2].open()
    await lab.event(job_id, "job.suspended", number=2)
    page.gates[1].open()

    with pytest.raises(JobFailedError, match="page -2 is torn"):
        await lab.client.result(job_id)
    assert not fault.times


async def test_store_that_is_away_while_children_are_read_costs_no_attempt(lab, job, page, clock):
    away = StoreUnavailableError("away")

    @job
    async def book(job):
        children = [await job.spawn(f"page/{n}", page, n) for n in (1, 2)]
        return job.attempt + len(await job.gather(*children))

    lab.faults.add(Fault(verb="get_job", action=away, matches=lambda job_id: job_id != parent[0]))
    parent = [""]
    parent[0] = await lab.submit("book")

    assert (await passing(clock, lab.end_of(parent[0]))).output == b"3"


async def test_two_waits_for_one_child_get_the_same(lab, job, page):
    @job
    async def book(job):
        child = await job.spawn("page", page, 1)
        first, second = await asyncio.gather(child.result(), child.result())
        return first == second

    assert await lab.run("book") is True


async def test_parent_that_has_lost_its_lease_spawns_nothing(lab, job, page):
    gate = Gate()

    @job
    async def book(job):
        await gate.through()
        return (await (await job.spawn("page", page, 1)).result()).number

    job_id = await lab.submit("book")
    await gate.reached.wait()
    [worker] = lab.workers
    await lab.store.release_worker(worker.worker_id)
    gate.open()
    await lab.until(job_id, JobStatus.QUEUED)

    assert await children_of(lab, job_id) == []


async def test_child_that_could_not_be_announced_is_found_anyway(idle, clock):
    class Broken:
        async def dispatch(self, dispatches):
            raise DispatchError("no broker")

    async def leaf(job):
        return 1

    async def book(job):
        return await (await job.spawn("leaf", leaf)).result()

    idle.job("leaf", leaf)
    idle.job("book", book)
    idle.dispatcher = Broken()
    await idle.start_worker(lease_seconds=1_000_000)

    assert (await passing(clock, idle.end_of(await idle.submit("book")))).output == b"1"


# ending ----------------------------------------------------------------------------------------


async def test_cancel_ends_three_levels_and_takes_back_what_they_did(lab, job):
    gate = Gate()
    undos.BOOK.clear()

    @job
    async def low(job):
        await job.step("put", undos.put, "it", undo=undos.remove)
        await job.step("gate", gate.through)

    @job
    async def middle(job):
        await (await job.spawn("low", low)).result()

    @job
    async def top(job):
        await (await job.spawn("middle", middle)).result()

    job_id = await lab.submit("top")
    await gate.reached.wait()
    [child] = await children_of(lab, job_id)
    [grandchild] = await children_of(lab, child.job_id)
    await lab.until(job_id, JobStatus.SUSPENDED)
    await lab.client.cancel(job_id)
    ended = [await lab.end_of(each) for each in (job_id, child.job_id, grandchild.job_id)]

    assert {each.status for each in ended} == {JobStatus.CANCELLED}
    assert undos.BOOK.lines == [("put", "it"), ("remove", "it")]


async def test_child_that_nobody_waits_for_outlives_its_parent(lab, job, page):
    page.gates[1] = Gate()

    @job
    async def book(job):
        await job.spawn("page", page, 1)

    ended = await lab.end_of(await lab.submit("book"))
    [child] = await children_of(lab, ended.job_id)
    page.gates[1].open()

    assert (await lab.end_of(child.job_id)).status is JobStatus.COMPLETED


async def test_worker_lost_between_spawn_and_gather_spawns_nothing_twice(idle, clock, folder):
    between, ran = Gate(), Mark()

    async def leaf(job, number: int):
        ran.hit(number)
        return number

    async def book(job):
        children = [await job.spawn(f"leaf/{n}", "leaf", n) for n in (1, 2)]
        await job.step("between", between.through)
        return await job.gather(*children)

    idle.job("book", book)
    idle.job("leaf", leaf)
    first = await idle.start_worker()
    job_id = await idle.submit("book")
    await between.reached.wait()
    await ran.wait(2)
    await idle.abandon(first)
    between.open()
    clock.advance(60)
    await idle.start_worker(lease_seconds=1_000_000)
    ended = await passing(clock, idle.end_of(job_id))

    assert codec.from_json(ended.output) == [1, 2]
    assert len(await children_of(idle, job_id)) == 2


async def test_drain_hands_back_a_parent_that_still_works_and_another_goes_on(idle):
    step, leaf_gate = Gate(), Gate()

    async def leaf(job):
        await job.step("gate", leaf_gate.through)
        return 5

    async def book(job):
        child = await job.spawn("leaf", "leaf")
        result, _ = await asyncio.gather(child.result(), job.step("cover", step.through))
        return result

    idle.job("book", book)
    idle.job("leaf", leaf)
    first = await idle.start_worker(drain_grace=timedelta(0), lease_seconds=1_000_000)
    job_id = await idle.submit("book")
    await step.reached.wait()
    await leaf_gate.reached.wait()
    idle.workers.remove(first)
    draining = asyncio.create_task(first.drain())
    await passing(idle.clock, draining)
    step.open()
    leaf_gate.open()
    await idle.start_worker(lease_seconds=1_000_000)

    assert (await idle.end_of(job_id)).output == b"5"


# money -----------------------------------------------------------------------------------------


async def call_model(store, tokens):
    scope = step_scope()
    intent = CallIntent(
        call_id=f"{scope.lease.job_id} {scope.step_attempt}",
        step_key=scope.step_key,
        step_attempt=scope.step_attempt,
        provider="p",
        model="m",
        reserved_tokens=tokens,
        reserved_usd=Decimal(0),
    )
    await store.reserve_call(scope.lease, intent)
    used = CallOutcome(status=CallStatus.SETTLED, input_tokens=tokens, usd=Decimal(0))
    await store.settle_call(scope.lease, intent.call_id, used)


async def test_budget_of_a_parent_holds_for_its_children_and_raising_it_wakes_them(lab, job):
    @job
    async def leaf(job, number: int):
        await job.step("call", call_model, lab.store, 100)

    @job(budget=Budget(tokens=250))
    async def book(job):
        await job.gather(*[await job.spawn(f"leaf/{n}", leaf, n) for n in range(3)])

    job_id = await lab.submit("book")
    await lab.until(job_id, JobStatus.SUSPENDED)
    children = await children_of(lab, job_id)
    waiting = asyncio.gather(
        *(lab.until(each.job_id, JobStatus.COMPLETED, JobStatus.SUSPENDED) for each in children)
    )
    held = [each.suspend_reason for each in await waiting if each.status is JobStatus.SUSPENDED]
    assert held == [SuspendReason.BUDGET]
    await lab.client.set_budget(job_id, Budget(tokens=1_000))
    ended = await lab.end_of(job_id)

    assert ended.status is JobStatus.COMPLETED
    assert (ended.usage.calls, ended.usage.input_tokens) == (3, 300)


# progress --------------------------------------------------------------------------------------


async def test_progress_of_running_children_flows_up_while_the_parent_is_suspended(lab, job):
    half = Gate()

    @job
    async def leaf(job, number: int):
        if number:
            job.report_progress(1, 2)
            await job.step("half", half.through)

    @job
    async def part(job):
        await job.gather(*[await job.spawn(f"leaf/{n}", leaf, n) for n in (0, 1)])

    @job
    async def book(job):
        await job.step("outline", str)
        job.report_progress(1, 2)
        await (await job.spawn("part", part)).result()

    job_id = await lab.submit("book")
    await half.reached.wait()
    [child] = await children_of(lab, job_id)
    leaves = await children_of(lab, child.job_id)
    await lab.end_of(leaves[0].job_id)
    await lab.event(leaves[1].job_id, "progress")
    await lab.until(child.job_id, JobStatus.SUSPENDED)
    await lab.until(job_id, JobStatus.SUSPENDED)
    between = (await lab.client.get(job_id, with_children=True)).progress
    half.open()
    await lab.end_of(job_id)
    after = (await lab.client.get(job_id, with_children=True)).progress

    # Its own 1 of 2, and of its child three quarters: one leaf done, one half way.
    assert (between.done, between.total) == (1.75, 3)
    assert (after.done, after.total) == (2, 3)
    assert between.eta_seconds is None


# concurrency -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per", "submitted", "at_once"),
    [
        ("kind", [(0, "a"), (0, "b")], 1),
        ("tenant", [(0, "a"), (0, "b"), (0, "a")], 2),
        (str, [(1, "a"), (1, "b"), (2, "a")], 2),
    ],
)
async def test_kind_limits_how_many_of_its_jobs_run_at_once(lab, job, per, submitted, at_once):
    gate = Gate()

    @job(concurrency=Concurrency(limit=1, per=per))
    async def work(job, number: int):
        await job.step("gate", gate.through)

    ids = [await lab.submit("work", number, tenant=tenant) for number, tenant in submitted]
    await gate.reached.wait(at_once)
    statuses = [(await lab.client.get(job_id)).status for job_id in ids]
    assert statuses.count(JobStatus.RUNNING) == at_once
    gate.open()

    for job_id in ids:
        assert (await lab.end_of(job_id)).status is JobStatus.COMPLETED


async def test_concurrency_key_of_the_caller_replaces_the_kinds_own(lab, job):
    gate = Gate()

    @job(concurrency=Concurrency(limit=1))
    async def work(job):
        await job.step("gate", gate.through)

    first = await lab.submit("work", concurrency_key="gpu-1")
    await lab.submit("work", concurrency_key="gpu-2")
    await gate.reached.wait(2)
    gate.open()

    assert (await lab.end_of(first)).concurrency_key == "gpu-1"


async def test_children_keep_to_their_kinds_limit_and_a_waiting_parent_takes_no_place(lab, job):
    running, most = [], Mark()

    @job(concurrency=Concurrency(limit=2, per="tenant"))
    async def tree(job, depth: int) -> int:
        if not depth:

            async def count():
                running.append(1)
                most.hit(len(running))
                await asyncio.sleep(0)
                running.pop()

            await job.step("work", count)
            return 1
        children = [await job.spawn(f"branch/{n}", tree, depth - 1) for n in range(3)]
        return sum(await job.gather(*children))

    ended = await lab.end_of(await lab.submit("tree", 2, tenant="acme"))

    assert ended.output == b"9"
    assert max(most.values) <= 2


async def test_retried_attempt_of_a_child_is_no_end(lab, job):
    tries = []

    @job
    async def leaf(job):
        tries.append(1)
        if len(tries) < 2:
            raise RetryLaterError("not yet", retry_after=timedelta(0))
        return 3

    @job
    async def book(job):
        return await (await job.spawn("leaf", leaf)).result()

    assert await lab.run("book") == 3
