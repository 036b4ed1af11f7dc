"""The ledger, budgets, lanes."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import BudgetExceededError, InvalidInputError
from holdfast.model import Budget, CallStatus, JobStatus, Usage
from holdfast.store.base import LaneAdjustment, LaneRequest, Store
from holdfast.testing.store_suite.support import (
    StoreFixtures,
    StoreLab,
    claimed,
    intent,
    job,
    last_event,
    lose_worker,
    outcome,
    put,
    seconds,
    settle,
    start,
)
from holdfast.turns import ASK_AGAIN_SECONDS_MAX, LATE_SECONDS_MAX

if TYPE_CHECKING:
    from holdfast.testing.clock import ManualClock


class MoneySuite(StoreFixtures):
    """`reserve_call`, `settle_call`."""

    async def test_reservation_is_on_the_job_and_in_the_ledger(
        self, store: Store, clock: ManualClock
    ) -> None:
        lease = await start(store)

        await store.reserve_call(lease, intent(reserved_usd=Decimal("0.02")))

        usage = (await store.get_job(lease.job_id)).usage
        assert usage == Usage(reserved_tokens=100, reserved_usd=Decimal("0.02"))
        [call] = (await store.get_records(lease.job_id)).calls
        assert (call.status, call.usd, call.ended_at) == (CallStatus.RESERVED, None, None)
        assert (call.started_at, call.epoch, call.step_key) == (clock.now(), 1, "draft")
        assert (call.reserved_tokens, call.reserved_usd) == (100, Decimal("0.02"))

    async def test_settling_books_use_and_returns_the_rest(
        self, store: Store, clock: ManualClock
    ) -> None:
        lease = await start(store)
        await store.reserve_call(lease, intent(reserved_usd=Decimal("0.02")))
        ended = outcome(cached_tokens=10, usd=Decimal("0.0000012345"), response_id="r")

        await store.settle_call(lease, "call_1", ended)

        usage = (await store.get_job(lease.job_id)).usage
        assert usage == Usage(
            calls=1,
            input_tokens=30,
            cached_tokens=10,
            output_tokens=20,
            usd=Decimal("0.000001235"),
        )
        [call] = (await store.get_records(lease.job_id)).calls
        assert (call.status, call.ended_at) == (CallStatus.SETTLED, clock.now())
        assert (call.usd, call.response_id) == (Decimal("0.000001235"), "r")
        assert await last_event(store, lease.job_id) == (
            "usage",
            {
                "call_id": "call_1",
                "step_key": "draft",
                "model": "small",
                "input_tokens": 30,
                "cached_tokens": 10,
                "output_tokens": 20,
                "usd": "0.000001235",
                "status": "settled",
            },
        )

    async def test_unknown_price_is_counted_never_zero(self, store: Store) -> None:
        lease = await start(store)
        await store.reserve_call(lease, intent())

        await store.settle_call(lease, "call_1", outcome(status=CallStatus.FAILED, error_code="e"))

        found = await store.get_job(lease.job_id)
        assert (found.usage.unpriced_calls, found.usage.usd) == (1, Decimal(0))
        [call] = (await store.get_records(lease.job_id)).calls
        assert (call.status, call.usd, call.error_code) == (CallStatus.FAILED, None, "e")
        assert (await last_event(store, lease.job_id))[1]["usd"] is None

    async def test_settling_and_reserving_again_changes_nothing(self, store: Store) -> None:
        lease = await start(store)
        await store.reserve_call(lease, intent())
        await store.settle_call(lease, "call_1", outcome())
        before = await store.get_job(lease.job_id), await store.get_records(lease.job_id)

        await store.settle_call(lease, "call_1", outcome(input_tokens=999))
        await store.reserve_call(lease, intent())

        assert (await store.get_job(lease.job_id), await store.get_records(lease.job_id)) == before

    async def test_settling_a_call_that_was_never_reserved_is_refused(self, store: Store) -> None:
        lease = await start(store)

        with pytest.raises(InvalidInputError):
            await store.settle_call(lease, "call_none", outcome())

    @pytest.mark.parametrize(
        "budget",
        [Budget(tokens=250), Budget(usd=Decimal("0.25")), Budget(usd=Decimal("0.2"), tokens=200)],
    )
    async def test_reservation_never_passes_the_budget(self, store: Store, budget: Budget) -> None:
        lease = await start(store, budget=budget)

        async def reserve(number: int) -> bool:
            try:
                await store.reserve_call(lease, intent(f"c{number}", reserved_usd=Decimal("0.1")))
            except BudgetExceededError:
                return False
            return True

        assert sum(await asyncio.gather(*map(reserve, range(9)))) == 2
        assert len((await store.get_records(lease.job_id)).calls) == 2

    async def test_settled_call_makes_room_for_the_next(self, store: Store) -> None:
        lease = await start(store, budget=Budget(tokens=150))
        await store.reserve_call(lease, intent("a"))
        await store.settle_call(lease, "a", outcome())

        await store.reserve_call(lease, intent("b"))

        with pytest.raises(BudgetExceededError, match="0 of 150"):
            await store.reserve_call(lease, intent("c", reserved_tokens=1))

    async def test_uncertain_calls_count_against_the_budget(
        self, store: Store, clock: ManualClock
    ) -> None:
        lease = await start(store, budget=Budget(usd=Decimal("0.10"), tokens=1_000))
        await store.reserve_call(lease, intent("a", reserved_usd=Decimal("0.09")))
        await lose_worker(store, clock)
        again = (await claimed(store, lease.job_id)).lease

        with pytest.raises(BudgetExceededError):
            await store.reserve_call(again, intent("b", reserved_usd=Decimal("0.02")))

        usage = (await store.get_job(lease.job_id)).usage
        assert (usage.uncertain_calls, usage.uncertain_usd) == (1, Decimal("0.09"))

    async def test_settled_call_is_lost_with_its_worker_unless_its_step_was_stored(
        self, store: Store, clock: ManualClock
    ) -> None:
        """The next attempt pays for the lost one again, so the ledger must tell."""
        lease = await start(store)
        for call_id, step_key in (("kept", "outline"), ("gone", "draft")):
            await store.reserve_call(lease, intent(call_id, step_key=step_key))
            await store.settle_call(lease, call_id, outcome(usd=Decimal("0.01")))
        await put(store, lease, "outline")

        await lose_worker(store, clock)

        calls = (await store.get_records(lease.job_id)).calls
        assert {call.call_id: call.status for call in calls} == {
            "kept": CallStatus.SETTLED,
            "gone": CallStatus.LOST,
        }
        usage = (await store.get_job(lease.job_id)).usage
        assert (usage.calls, usage.usd, usage.uncertain_calls) == (2, Decimal("0.02"), 0)

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (JobStatus.QUEUED, CallStatus.LOST),
            (JobStatus.SUSPENDED, CallStatus.SETTLED),
            (JobStatus.FAILED, CallStatus.SETTLED),
        ],
    )
    async def test_settled_call_without_a_stored_step_is_lost_when_the_job_is_queued_again(
        self, store: Store, status: JobStatus, expected: CallStatus
    ) -> None:
        lease = await start(store)
        await store.reserve_call(lease, intent())
        await store.settle_call(lease, "call_1", outcome())

        await settle(store, lease, status)

        [call] = (await store.get_records(lease.job_id)).calls
        assert call.status is expected

    async def test_later_attempt_can_settle_an_uncertain_call(
        self, store: Store, clock: ManualClock
    ) -> None:
        """As when the provider still knows the answer to a call whose worker was lost."""
        lease = await start(store)
        await store.reserve_call(lease, intent(reserved_usd=Decimal("0.09")))
        await lose_worker(store, clock)
        again = (await claimed(store, lease.job_id)).lease

        await store.settle_call(again, "call_1", outcome(usd=Decimal("0.01")))

        usage = (await store.get_job(lease.job_id)).usage
        assert (usage.uncertain_calls, usage.uncertain_usd) == (0, Decimal(0))
        assert usage.usd == Decimal("0.01")

    async def test_unknown_price_is_refused_under_a_budget_in_money(self, store: Store) -> None:
        lease = await start(store, budget=Budget(usd=Decimal(1)))

        with pytest.raises(BudgetExceededError, match="price of model 'small' is unknown"):
            await store.reserve_call(lease, intent())

    async def test_raised_budget_lets_the_next_call_pass(self, store: Store) -> None:
        lease = await start(store, budget=Budget(tokens=10))
        with pytest.raises(BudgetExceededError):
            await store.reserve_call(lease, intent())

        await store.set_budget(lease.job_id, Budget())

        await store.reserve_call(lease, intent())

    @pytest.mark.parametrize("budget", [Budget(usd=Decimal("1e30")), Budget(tokens=2**63)])
    async def test_budget_that_cannot_be_stored_is_refused(self, store: Store, budget: Budget) -> None:
        with pytest.raises(InvalidInputError):
            await store.insert_job(job(budget=budget))


def lane_request(tokens: int = 10, burst_seconds: float = 60) -> LaneRequest:
    """Return a request on a lane of 2 requests and 100 tokens a minute."""
    return LaneRequest(
        lane="openai/small",
        tokens=tokens,
        requests_per_minute=2,
        tokens_per_minute=100,
        burst_seconds=burst_seconds,
    )


def turn(
    asker: str, *, weight: float = 1, more_waiting: bool = False, burst_seconds: float = 1
) -> LaneRequest:
    """Return a process's request on the same lane, which now lets one call in a second."""
    return LaneRequest(
        lane="openai/small",
        tokens=10,
        requests_per_minute=60,
        tokens_per_minute=1e6,
        burst_seconds=burst_seconds,
        asker=asker,
        weight=weight,
        more_waiting=more_waiting,
    )


def adjustment(**changes: float | str) -> LaneAdjustment:
    """Return a correction of the same lane."""
    return LaneAdjustment(lane="openai/small", **changes)  # type: ignore[arg-type]


class LaneSuite(StoreFixtures):
    """`take_lane`, `adjust_lane`."""

    async def test_lane_starts_full_and_refills(self, store: Store, clock: ManualClock) -> None:
        assert (await store.take_lane(lane_request())).granted
        assert (await store.take_lane(lane_request())).granted

        refused = await store.take_lane(lane_request())

        assert not refused.granted
        assert refused.wait_seconds == pytest.approx(30)
        clock.advance(refused.wait_seconds)
        assert (await store.take_lane(lane_request())).granted

    async def test_lane_takes_both_or_neither(self, store: Store) -> None:
        assert (await store.take_lane(lane_request(tokens=60))).granted
        assert not (await store.take_lane(lane_request(tokens=60))).granted
        assert (await store.take_lane(lane_request(tokens=40))).granted

    async def test_call_larger_than_the_burst_passes_a_full_bucket(
        self, store: Store, clock: ManualClock
    ) -> None:
        assert (await store.take_lane(lane_request(tokens=500))).granted
        clock.advance(60)
        assert not (await store.take_lane(lane_request(tokens=1))).granted

    async def test_lane_is_shared_by_processes(self, store: Store, lab: StoreLab) -> None:
        other = await lab.open()

        grants = [
            (await each.take_lane(lane_request(tokens=1))).granted for each in (store, other, store)
        ]

        assert grants == [True, True, False]

    async def test_turn_is_kept_for_the_process_whose_it_is(
        self, store: Store, lab: StoreLab, clock: ManualClock
    ) -> None:
        other = await lab.open()
        await store.take_lane(turn("busy", more_waiting=True))
        first = await other.take_lane(turn("other", weight=2))
        behind = await store.take_lane(turn("busy", more_waiting=True))

        clock.advance(1)
        early = await store.take_lane(turn("busy", more_waiting=True))
        in_turn = await other.take_lane(turn("other", weight=2))

        grants = [first, behind, early, in_turn]
        assert [grant.granted for grant in grants] == [False, False, False, True]
        assert [grant.wait_seconds for grant in grants] == pytest.approx([1, 2, 1, 0])
        clock.advance(1)
        assert (await store.take_lane(turn("busy"))).granted

    async def test_grant_tells_when_there_will_be_as_much_again(
        self, store: Store, clock: ManualClock
    ) -> None:
        more = await store.take_lane(turn("busy", more_waiting=True))
        clock.advance(more.wait_seconds)
        last = await store.take_lane(turn("busy"))

        assert more.granted
        assert more.wait_seconds == pytest.approx(1)
        assert last.granted
        assert last.wait_seconds == 0

    async def test_processes_share_by_weight(
        self, store: Store, lab: StoreLab, clock: ManualClock
    ) -> None:
        askers = (
            (store, turn("light", more_waiting=True)),
            (await lab.open(), turn("heavy", weight=3, more_waiting=True)),
        )
        granted = {"light": 0, "heavy": 0}

        for _ in range(21):
            for each, request in askers:
                granted[request.asker] += (await each.take_lane(request)).granted
            clock.advance(1)

        assert granted["heavy"] in {15, 16}
        assert granted["light"] == 21 - granted["heavy"]

    async def test_turn_of_a_process_that_is_gone_lapses_within_seconds(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.take_lane(turn("alive"))
        await store.take_lane(turn("gone", weight=2))
        waited = 0.0

        while not (grant := await store.take_lane(turn("alive"))).granted:
            seconds_more = min(grant.wait_seconds, ASK_AGAIN_SECONDS_MAX)
            clock.advance(seconds_more)
            waited += seconds_more

        assert 1 < waited <= ASK_AGAIN_SECONDS_MAX + LATE_SECONDS_MAX

    async def test_whoever_finds_enough_for_those_ahead_as_well_may_pass_them(
        self, store: Store, clock: ManualClock
    ) -> None:
        for _ in range(3):
            await store.take_lane(turn("busy", burst_seconds=3))
        await store.take_lane(turn("ahead", weight=2, burst_seconds=3))

        clock.advance(2)

        assert (await store.take_lane(turn("busy", burst_seconds=3))).granted
        assert (await store.take_lane(turn("ahead", weight=2, burst_seconds=3))).granted

    async def test_correction_leaves_the_line_as_it_is(self, store: Store, clock: ManualClock) -> None:
        await store.take_lane(turn("busy"))
        await store.take_lane(turn("ahead", weight=2))

        await store.adjust_lane(adjustment(refund_tokens=1))
        clock.advance(1)

        assert not (await store.take_lane(turn("busy"))).granted
        assert (await store.take_lane(turn("ahead", weight=2))).granted

    async def test_pause_stops_all_grants(self, store: Store, clock: ManualClock) -> None:
        paused = await store.adjust_lane(adjustment(pause_seconds=5))
        await store.adjust_lane(adjustment(pause_seconds=1))

        refused = await store.take_lane(lane_request())

        assert paused.paused_until == clock.now() + seconds(5)
        assert not refused.granted
        assert refused.wait_seconds == pytest.approx(5)
        clock.advance(5)
        assert (await store.take_lane(lane_request())).granted

    async def test_hold_parks_the_lane_until_released(self, store: Store, clock: ManualClock) -> None:
        await store.adjust_lane(adjustment(hold_seconds=60, hold_reason="insufficient_quota"))

        parked = await store.take_lane(lane_request())
        released = await store.adjust_lane(adjustment(hold_seconds=0))

        assert (parked.granted, parked.held_reason) == (False, "insufficient_quota")
        assert parked.held_until == clock.now() + seconds(60)
        assert (released.held_until, released.held_reason) == (None, None)
        assert (await store.take_lane(lane_request())).granted

    async def test_rate_factor_slows_the_refill_and_recovers(
        self, store: Store, clock: ManualClock
    ) -> None:
        state = await store.adjust_lane(adjustment(rate_factor=0.1))
        clock.advance(10)
        later = await store.adjust_lane(adjustment())

        assert state.rate_factor == 0.5
        assert later.rate_factor == pytest.approx(0.7)

    async def test_refund_and_remaining_correct_the_tokens(self, store: Store) -> None:
        await store.take_lane(lane_request(tokens=100))
        await store.adjust_lane(adjustment(refund_tokens=50))
        assert (await store.take_lane(lane_request(tokens=50))).granted

        await store.adjust_lane(adjustment(refund_tokens=50, tokens_remaining=0, requests_remaining=0))

        assert not (await store.take_lane(lane_request(tokens=1))).granted
