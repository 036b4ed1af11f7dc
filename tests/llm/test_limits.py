"""Waiting for permits: fair, patient, and safe to cancel."""

import asyncio

import pytest

from holdfast.errors import LaneHeldError, StoreUnavailableError
from holdfast.llm.lanes import LocalLanes
from holdfast.llm.limits import Limiter
from holdfast.store.base import LaneAdjustment, LaneRequest
from holdfast.testing.clock import ManualClock
from holdfast.turns import ASK_AGAIN_SECONDS_MAX

ONE_A_SECOND = 60.0


class CountingLanes(LocalLanes):
    """Local lanes that count, can fail, and can keep an asker waiting."""

    def __init__(self, clock) -> None:
        super().__init__(clock)
        self.asked = 0
        self.granted = 0
        self.asking = 0
        self.asking_max = 0
        self.failures: list[Exception] = []
        self.gate: asyncio.Event | None = None
        self.before_answer = lambda: None
        self.requests: list[LaneRequest] = []

    async def take_lane(self, request):
        self.asked += 1
        self.requests.append(request)
        self.asking += 1
        self.asking_max = max(self.asking_max, self.asking)
        try:
            await asyncio.sleep(0)
            if self.failures:
                raise self.failures.pop()
            grant = await super().take_lane(request)
            if self.gate is not None:
                await self.gate.wait()
            self.granted += grant.granted
            self.before_answer()
            return grant
        finally:
            self.asking -= 1


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def lanes(clock):
    return CountingLanes(clock)


@pytest.fixture
def limiter(lanes, clock):
    return Limiter(lanes, clock)


def permits(*, tokens=1, rpm=ONE_A_SECOND, tpm=1e9, lane="lane"):
    return LaneRequest(
        lane=lane, tokens=tokens, requests_per_minute=rpm, tokens_per_minute=tpm, burst_seconds=1
    )


async def settle():
    """Give every task that can run its turns."""
    for _ in range(30):
        await asyncio.sleep(0)


def admit(limiter, admitted, name, *, flow="job", weight=1.0, **wanted):
    async def wait():
        await limiter.admit(permits(**wanted), flow=flow, weight=weight)
        admitted.append(name)

    return asyncio.create_task(wait(), name=name)


async def test_first_call_passes_at_once_and_the_next_after_the_lanes_wait(limiter, clock):
    admitted: list[str] = []
    tasks = [admit(limiter, admitted, name) for name in "abc"]
    await settle()
    assert admitted == ["a"]

    clock.advance(1)
    await settle()
    assert admitted == ["a", "b"]

    clock.advance(1)
    await asyncio.gather(*tasks)
    assert admitted == ["a", "b", "c"]


async def test_lane_sees_one_asker_and_no_polling(limiter, lanes, clock):
    admitted: list[str] = []
    tasks = [admit(limiter, admitted, str(number)) for number in range(20)]
    for _ in range(20):
        await settle()
        clock.advance(1)
    await asyncio.gather(*tasks)

    assert lanes.asking_max == 1
    assert lanes.asked == 20
    assert limiter.waiting("lane") == 0
    assert limiter.waiting("never used") == 0


async def test_lane_is_told_who_asks_what_all_that_wait_weigh_and_whether_more_will_come(
    limiter, lanes, clock
):
    admitted: list[str] = []
    tasks = [
        admit(limiter, admitted, "a", flow="one", weight=2),
        admit(limiter, admitted, "b", flow="one", weight=2),
        admit(limiter, admitted, "c", flow="two", weight=0.5),
    ]
    for _ in range(3):
        await settle()
        clock.advance(1)
    await asyncio.gather(*tasks)

    assert {request.asker for request in lanes.requests} == {lanes.requests[0].asker}
    assert lanes.requests[0].asker.startswith("asker_")
    told = [(request.weight, request.more_waiting) for request in lanes.requests]
    assert told[0] == (2.5, True)
    assert told[-1][1] is False


async def test_urgent_call_further_back_makes_the_process_weigh_more_at_once(limiter, lanes, clock):
    admitted: list[str] = []
    first = [admit(limiter, admitted, name, flow="slow", weight=0.125) for name in "ab"]
    await settle()
    clock.advance(0.1)
    before = len(lanes.requests)

    urgent = admit(limiter, admitted, "urgent", flow="fast", weight=8)
    await settle()

    assert [request.weight for request in lanes.requests[before:]] == [8.125]
    for _ in range(2):
        clock.advance(1)
        await settle()
    await asyncio.gather(*first, urgent)


async def test_call_smaller_than_the_one_before_does_not_wait_for_as_much_again(limiter, clock):
    admitted: list[str] = []
    wide = {"rpm": 1e6, "tpm": 60_000.0}
    tasks = [admit(limiter, admitted, str(tokens), tokens=tokens, **wide) for tokens in (900, 50, 1_000)]
    await settle()

    assert admitted == ["900", "50"]
    clock.advance(2)
    await asyncio.gather(*tasks)


async def test_seldom_job_passes_a_long_line(limiter, clock):
    admitted: list[str] = []
    tasks = [admit(limiter, admitted, f"long-{number}", flow="long") for number in range(161)]
    await settle()
    clock.advance(1)
    await settle()
    tasks.append(admit(limiter, admitted, "short", flow="short"))

    for _ in range(2):
        await settle()
        clock.advance(1)
    await settle()

    assert "short" in admitted
    assert limiter.waiting("lane") == 161 - len(admitted) + 1
    await limiter.close()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_lanes_do_not_wait_for_each_other(limiter):
    admitted: list[str] = []
    tasks = [admit(limiter, admitted, name, lane=name) for name in "abc"]

    await asyncio.gather(*tasks)

    assert sorted(admitted) == ["a", "b", "c"]


async def test_small_call_that_comes_first_is_not_held_up_by_a_sleep_for_a_large_one(limiter, clock):
    admitted: list[str] = []
    wide = {"rpm": 1e6, "tpm": 60_000.0}
    first = admit(limiter, admitted, "first", tokens=1_000, **wide)
    large = admit(limiter, admitted, "large", tokens=1_000, **wide)
    await settle()
    clock.advance(0.1)

    small = admit(limiter, admitted, "small", flow="other", weight=8, tokens=10, **wide)
    await settle()

    assert admitted == ["first", "small"]
    clock.advance(2)
    await asyncio.gather(first, large, small)


async def test_cancelled_waiter_leaves_the_line_and_the_next_is_asked_for(limiter, lanes, clock):
    admitted: list[str] = []
    tasks = {name: admit(limiter, admitted, name) for name in "abc"}
    await settle()

    tasks["b"].cancel()
    await settle()
    assert limiter.waiting("lane") == 1

    clock.advance(1)
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert admitted == ["a", "c"]
    assert lanes.granted == 2


async def test_cancelled_waiter_further_back_changes_nothing_for_the_first(limiter, lanes, clock):
    admitted: list[str] = []
    tasks = {name: admit(limiter, admitted, name) for name in "abc"}
    await settle()
    asked = lanes.asked

    tasks["c"].cancel()
    await settle()

    assert lanes.asked == asked
    clock.advance(1)
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert admitted == ["a", "b"]


async def test_permit_granted_while_its_waiter_was_cancelled_goes_to_the_next(limiter, lanes):
    lanes.gate = asyncio.Event()
    admitted: list[str] = []
    first, second = (admit(limiter, admitted, name) for name in ("first", "second"))
    await settle()

    first.cancel()
    await settle()
    lanes.gate.set()
    await second

    assert admitted == ["second"]
    assert lanes.granted == 1


async def test_permit_granted_in_the_moment_of_a_cancel_goes_to_the_next(limiter, lanes):
    """The asker has resolved the waiter's future, but the waiter's task has not run again yet."""
    admitted: list[str] = []
    first, second = (admit(limiter, admitted, name) for name in ("first", "second"))
    lanes.before_answer = lambda: asyncio.get_running_loop().call_soon(first.cancel)

    await second

    assert first.cancelled()
    assert admitted == ["second"]
    assert lanes.granted == 1


async def test_permit_that_is_too_small_for_the_next_is_lost_not_doubled(limiter, lanes, clock):
    lanes.gate = asyncio.Event()
    admitted: list[str] = []
    small = admit(limiter, admitted, "small", tokens=1)
    large = admit(limiter, admitted, "large", tokens=50)
    await settle()

    small.cancel()
    await settle()
    lanes.gate.set()
    await settle()
    assert admitted == []

    clock.advance(1)
    await large
    assert lanes.granted == 2


async def test_permit_of_the_last_waiter_is_lost_when_it_is_cancelled(limiter, lanes, clock):
    lanes.gate = asyncio.Event()
    admitted: list[str] = []
    only = admit(limiter, admitted, "only")
    await settle()
    only.cancel()
    lanes.gate.set()
    await settle()

    later = admit(limiter, admitted, "later")
    await settle()
    assert admitted == []

    clock.advance(1)
    await later


async def test_failure_to_ask_belongs_to_the_first_in_line_alone(limiter, lanes):
    lanes.failures = [StoreUnavailableError("away")]
    admitted: list[str] = []
    tasks = [admit(limiter, admitted, name) for name in ("first", "second")]

    ended = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(ended[0], StoreUnavailableError)
    assert admitted == ["second"]


async def test_failure_to_ask_for_a_cancelled_waiter_concerns_nobody(limiter, lanes):
    lanes.failures = [StoreUnavailableError("away")]
    admitted: list[str] = []
    first, second = (admit(limiter, admitted, name) for name in ("first", "second"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()

    await second

    assert admitted == ["second"]


async def test_parked_lane_refuses_everyone_who_waits(limiter, lanes, clock):
    await lanes.adjust_lane(LaneAdjustment(lane="lane", hold_seconds=900, hold_reason="invalid_api_key"))
    admitted: list[str] = []
    tasks = [admit(limiter, admitted, name) for name in "abc"]

    ended = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(error, LaneHeldError) for error in ended)
    assert "invalid_api_key" in str(ended[0])
    assert lanes.asked == 1


async def test_lane_parked_by_this_process_is_noticed_at_once(limiter, lanes, clock):
    admitted: list[str] = []
    tasks = [admit(limiter, admitted, name) for name in "ab"]
    await settle()

    await lanes.adjust_lane(LaneAdjustment(lane="lane", hold_seconds=900))
    limiter.changed("lane")
    limiter.changed("never used")

    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(ended[1], LaneHeldError)


async def test_long_wait_is_asked_about_again_in_between(limiter, lanes, clock):
    """Another process may have released the lane."""
    await lanes.adjust_lane(LaneAdjustment(lane="lane", pause_seconds=3_600))
    admitted: list[str] = []
    task = admit(limiter, admitted, "a")
    await settle()
    lanes._lanes.clear()

    clock.advance(ASK_AGAIN_SECONDS_MAX)
    await task

    assert admitted == ["a"]


async def test_closing_cancels_whoever_waits(limiter):
    admitted: list[str] = []
    tasks = [admit(limiter, admitted, name) for name in "abc"]
    await settle()

    await limiter.close()
    await limiter.close()

    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert admitted == ["a"]
    assert isinstance(ended[2], asyncio.CancelledError)


async def test_closing_an_idle_limiter_is_nothing(limiter):
    await limiter.admit(permits(), flow="job", weight=1)
    await settle()

    await limiter.close()
