import asyncio
from datetime import timedelta

import pytest

from holdfast import codec
from holdfast.engine.mapping import Rounds
from holdfast.errors import (
    FatalError,
    JobFailedError,
    MapFailedError,
    SoftLimitError,
    StepFailedError,
    StepUsageError,
)
from holdfast.model import JobStatus
from holdfast.testing.signals import Gate, Mark
from tests.engine.moving import ONCE, once_more, passing


async def double(number):
    return number * 2


async def test_map_returns_results_in_item_order(lab, job):
    """Whatever the order in which the items end."""
    gates = {name: asyncio.Event() for name in "abc"}
    gates["c"].set()

    async def work_on(name):
        await gates[name].wait()
        gates[{"c": "b", "b": "a", "a": "a"}[name]].set()
        return name.upper()

    @job
    async def work(job):
        return await job.map("item", ["a", "b", "c"], work_on)

    assert await lab.run("work") == ["A", "B", "C"]


async def test_map_keeps_to_its_concurrency(lab, job):
    running, peak = [], []
    gate = Gate()

    async def work_on(number):
        running.append(number)
        peak.append(len(running))
        if len(peak) <= 3:
            await gate.through()
        running.remove(number)

    @job
    async def work(job):
        await job.map("item", range(10), work_on, concurrency=3)

    job_id = await lab.submit("work")
    await gate.reached.wait(3)
    gate.open()
    await lab.end_of(job_id)

    assert (max(peak), len(peak)) == (3, 10)


async def test_map_of_nothing_is_an_empty_list(lab, job):
    @job
    async def work(job):
        return await job.map("item", [], double)

    assert await lab.run("work") == []


async def test_resumed_map_skips_finished_items(lab, job):
    calls = []
    retry = once_more()

    async def work_on(number):
        calls.append(number)
        if number == 2 and calls.count(2) == 1:
            await retry()
        return number

    @job
    async def work(job):
        first = await job.map("item", [1, 3], work_on)
        await retry()
        return first + await job.map("more", [4], work_on)

    assert await lab.run("work") == [1, 3, 4]
    assert calls == [1, 3, 4]


async def test_map_finds_items_by_key_when_their_order_changes(lab, job):
    calls = []
    orders = iter([["a", "b"], ["b", "new", "a"]])
    retry = once_more()

    async def work_on(name):
        calls.append(name)
        return name

    @job
    async def work(job):
        found = await job.map("item", next(orders), work_on)
        await retry()
        return found

    assert await lab.run("work") == ["b", "new", "a"]
    assert calls == ["a", "b", "new"]


async def test_failing_map_starts_nothing_more_and_keeps_what_is_in_flight(lab, job):
    """The first failure is raised once the calls in flight have ended and are stored."""
    gate, calls = Gate(), []

    async def work_on(name):
        calls.append(name)
        if name == "slow":
            await gate.through()
        if name == "broken":
            await gate.reached.wait()
            asyncio.get_running_loop().call_soon(gate.open)
            raise FatalError("no")

    @job
    async def work(job):
        with pytest.raises(StepFailedError, match="'item/broken' failed"):
            await job.map("item", ["slow", "broken", "never"], work_on, concurrency=2)

    job_id = await lab.submit("work")
    await lab.end_of(job_id)

    assert calls == ["slow", "broken"]
    assert [found.key for found in (await lab.client.records(job_id)).checkpoints] == ["item/slow"]


async def test_finishing_map_does_the_rest_and_names_every_failure(lab, job):
    async def work_on(number):
        if number % 2:
            raise FatalError(f"{number} is odd")

    @job
    async def work(job):
        with pytest.raises(
            MapFailedError, match=r"2 of 5 items of map 'item' failed: '1': .*; '3': "
        ) as caught:
            await job.map("item", range(5), work_on, on_error="finish", retry=ONCE)
        return sorted(caught.value.failures)

    job_id = await lab.submit("work")
    ended = await lab.end_of(job_id)

    assert codec.from_json(ended.output) == ["1", "3"]
    assert len((await lab.client.records(job_id)).checkpoints) == 3


async def test_item_that_cancels_itself_is_a_failure_not_a_result(lab, job):
    async def work_on(number):
        if number == 1:
            raise asyncio.CancelledError
        return number

    @job
    async def work(job):
        return await job.map("item", range(3), work_on)

    with pytest.raises(JobFailedError, match="'item/1' failed"):
        await lab.run("work")


@pytest.mark.parametrize(
    ("items", "options", "message"),
    [
        ([1.5], {}, "items of type float, which have no key"),
        ([True], {}, "items of type bool"),
        (["a", "a"], {}, "two items with the key 'a'"),
        (["1", 1], {}, "two items with the key '1'"),
        (["a"], {"concurrency": 0}, "concurrency 0"),
        (["ab", "ac"], {"key": lambda item: item[0]}, "two items with the key 'a'"),
    ],
)
async def test_unusable_maps_are_refused_before_anything_starts(lab, job, items, options, message):
    @job
    async def work(job):
        with pytest.raises(StepUsageError, match=message):
            await job.map("item", items, double, **options)

    job_id = await lab.submit("work")

    assert (await lab.end_of(job_id)).status is JobStatus.COMPLETED
    assert (await lab.client.records(job_id)).checkpoints == ()


async def test_map_named_like_the_engines_own_steps_is_refused(lab, job):
    @job
    async def work(job):
        await job.map("holdfast:x", [1], double)

    with pytest.raises(JobFailedError, match="kept for the engine"):
        await lab.run("work")


async def test_unknown_failure_policy_is_refused(lab, job):
    @job
    async def work(job):
        await job.map("item", [1], double, on_error="ignore")

    with pytest.raises(JobFailedError, match="on_error='ignore'; give 'fail' or 'finish'"):
        await lab.run("work")


async def test_step_with_a_key_of_the_map_stops_it(lab, job):
    @job
    async def work(job):
        await job.step("item/2", double, 2)
        await job.map("item", [1, 2, 3], double, concurrency=1)

    with pytest.raises(JobFailedError, match="would use the step key 'item/2' twice"):
        await lab.run("work")


async def test_soft_limit_inside_a_map_keeps_what_is_in_flight_and_lets_the_job_end(lab, job, clock):
    calls = []

    async def work_on(number):
        calls.append(number)
        clock.advance(4)
        return number

    @job(soft_limit=timedelta(seconds=10))
    async def work(job):
        try:
            await job.map("item", range(9), work_on, concurrency=1)
        except SoftLimitError:
            return await job.step("summary", double, 21)

    job_id = await lab.submit("work")
    ended = await lab.end_of(job_id)

    assert ended.output == b"42"
    assert calls == [0, 1, 2]


async def test_progress_counts_weights_and_names_the_last_item(lab, job):
    @job
    async def work(job):
        await job.map(
            "item",
            ["a", "b"],
            double,
            concurrency=1,
            weight=lambda i: 3 if i == "a" else 1,
            label=lambda i: f"chapter {i}",
        )

    job_id = await lab.submit("work")
    ended = await lab.end_of(job_id)

    assert (ended.progress.done, ended.progress.total, ended.progress.label) == (4, 4, "chapter b")
    events = [codec.from_json(e.data) for e in await lab.store.read_events(job_id, types=("progress",))]
    assert events[0] == {"done": 0, "total": 4, "fraction": 0.0, "label": "", "eta_seconds": None}
    assert events[-1]["fraction"] == 1.0


async def test_progress_of_a_resumed_map_begins_with_what_is_finished(lab, job):
    retry = once_more()

    @job
    async def work(job):
        await job.map("item", [1, 2], double)
        await retry()

    job_id = await lab.submit("work")
    await lab.end_of(job_id)

    done = [
        codec.from_json(e.data)["done"] for e in await lab.store.read_events(job_id, types=("progress",))
    ]
    assert done == sorted(done)
    assert done[-1] == 2


async def test_map_waits_for_budget_in_one_item_while_others_finish(lab, job, clock):
    """A parked item suspends the job only after the others have been stored."""
    from holdfast.errors import LaneHeldError

    held, calls = Mark(), Mark()

    async def work_on(number):
        calls.hit(number)
        if number == 1 and not held.count:
            held.hit()
            raise LaneHeldError("quota", until=clock.now() + timedelta(hours=1))
        return number

    @job
    async def work(job):
        return await job.map("item", range(4), work_on, concurrency=2)

    job_id = await lab.submit("work")
    suspended = await lab.until(job_id, JobStatus.SUSPENDED)
    assert suspended.suspend_reason == "quota"
    assert {found.key for found in (await lab.client.records(job_id)).checkpoints} == {
        "item/0",
        "item/2",
        "item/3",
    }
    ended = await passing(clock, lab.end_of(job_id), seconds=600)

    assert ended.output == b"[0,1,2,3]"
    assert sorted(calls.values) == [0, 1, 1, 2, 3]


async def test_map_used_twice_with_the_same_item_is_refused_before_anything_starts(lab, job):
    @job
    async def work(job):
        await job.map("item", [1], double)
        await job.map("item", [2, 1], double)

    with pytest.raises(JobFailedError, match="map 'item' would use the step key 'item/1' twice"):
        await lab.run("work")


async def test_map_may_go_on_in_rounds_with_other_items(lab, job):
    @job
    async def work(job):
        return await job.map("item", [1], double) + await job.map("item", [2], double)

    assert await lab.run("work") == [2, 4]


async def test_rounds_of_a_map_end_before_the_next_begin(lab, job):
    """The third item waits for the second though a place is free since the first ended."""
    begun, slow = Mark(), asyncio.Event()

    async def work_on(number):
        begun.hit(number)
        if number == 1:
            await slow.wait()
        return number

    @job
    async def work(job):
        return await job.map("item", range(5), work_on, concurrency=Rounds(2))

    job_id = await lab.submit("work")
    await lab.event(job_id, "step.completed")
    before = sorted(begun.values)
    slow.set()
    ended = await lab.end_of(job_id)

    assert before == [0, 1]
    assert ended.output == b"[0,1,2,3,4]"
    assert (ended.progress.done, ended.progress.total) == (5, 5)


async def test_failure_in_a_round_starts_no_further_round(lab, job):
    begun = Mark()

    async def work_on(number):
        begun.hit(number)
        if number == 1:
            raise FatalError("no")

    @job
    async def work(job):
        await job.map("item", range(6), work_on, concurrency=Rounds(3, at_once=2))

    with pytest.raises(JobFailedError, match="no"):
        await lab.run("work")

    assert 3 not in begun.values


async def test_round_of_nothing_is_refused(lab, job):
    @job
    async def work(job):
        await job.map("item", [1], double, concurrency=Rounds(0))

    with pytest.raises(JobFailedError, match="at least 1"):
        await lab.run("work")
