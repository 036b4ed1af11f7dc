"""The arithmetic of lanes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.buckets import Ask, LaneBuckets, Taken, adjust, fresh, rate_factor_at, take

START = datetime(2030, 1, 1, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def take_at(
    buckets: LaneBuckets, seconds: float, *, tokens: float = 100, rpm=600.0, tpm=60_000.0, burst=2.0
) -> tuple[LaneBuckets, Taken]:
    ask = Ask(tokens=tokens, requests_per_minute=rpm, tokens_per_minute=tpm, burst_seconds=burst)
    return take(buckets, ask, now=after(seconds))


def full(rpm=600.0, tpm=60_000.0, burst=2.0) -> LaneBuckets:
    return fresh(requests_per_minute=rpm, tokens_per_minute=tpm, burst_seconds=burst, now=START)


def test_new_lane_grants_its_burst_at_once_and_then_says_how_long_to_wait():
    buckets = full()

    for _ in range(20):
        buckets, taken = take_at(buckets, 0)
        assert taken.granted
    buckets, taken = take_at(buckets, 0)

    assert not taken.granted
    assert taken.wait_seconds == pytest.approx(0.1, abs=1e-3)


def test_lane_made_by_an_adjustment_is_full_at_its_first_take():
    buckets = adjust(fresh(now=START), requests_remaining=0, now=START)

    for _ in range(20):
        buckets, taken = take_at(buckets, 5)
        assert taken.granted


def test_call_takes_both_permits_or_neither():
    buckets = full(tpm=6_000)

    buckets, _ = take_at(buckets, 0, tokens=150, tpm=6_000)
    refused, taken = take_at(buckets, 0, tokens=150, tpm=6_000)

    assert not taken.granted
    assert refused.requests_level == buckets.requests_level
    assert refused.tokens_level == buckets.tokens_level


def test_call_larger_than_the_burst_passes_and_is_paid_off_by_those_that_follow():
    buckets, taken = take_at(full(), 0, tokens=10_000)
    assert taken.granted
    assert buckets.tokens_level == -8_000

    _, taken = take_at(buckets, 0, tokens=1_000)

    assert not taken.granted
    assert taken.wait_seconds == pytest.approx(9)


def test_at_least_one_request_may_gather_however_low_the_limit():
    _, taken = take_at(full(rpm=1, burst=0), 0, rpm=1, burst=0)

    assert taken.granted


def test_pause_refuses_until_it_is_over_and_a_shorter_one_does_not_end_it():
    buckets = adjust(full(), pause_seconds=5, now=START)
    buckets = adjust(buckets, pause_seconds=1, now=START)

    _, early = take_at(buckets, 4)
    _, late = take_at(buckets, 5)

    assert early.wait_seconds == pytest.approx(1)
    assert late.granted


def test_hold_parks_with_its_reason_until_released_or_over():
    buckets = adjust(full(), hold_seconds=900, hold_reason="insufficient_quota", now=START)

    _, parked = take_at(buckets, 1)
    _, over = take_at(buckets, 900)
    _, released = take_at(adjust(buckets, hold_seconds=0, now=START), 0)

    assert (parked.granted, parked.held_until, parked.held_reason) == (
        False,
        after(900),
        "insufficient_quota",
    )
    assert over.granted
    assert over.held_until is None
    assert released.granted


def test_rate_factor_slows_the_refill_and_recovers_two_percent_a_second():
    buckets = adjust(full(), rate_factor=0.2, now=START)

    assert rate_factor_at(buckets, START) == 0.5
    assert rate_factor_at(buckets, after(10)) == pytest.approx(0.7)
    assert rate_factor_at(buckets, after(60)) == 1


def test_adjusting_anything_reports_the_rate_factor_of_now():
    buckets = adjust(full(), rate_factor=0.5, now=START)

    assert adjust(buckets, pause_seconds=1, now=after(10)).rate_factor == pytest.approx(0.7)


def test_refund_never_overfills_and_remaining_only_lowers():
    assert adjust(full(), refund_tokens=10_000, now=START).tokens_level == 2_000
    lowered = adjust(full(), requests_remaining=3, tokens_remaining=50, now=START)
    assert (lowered.requests_level, lowered.tokens_level) == (3, 50)
    raised = adjust(lowered, requests_remaining=300, tokens_remaining=50_000, now=START)
    assert (raised.requests_level, raised.tokens_level) == (3, 50)


def test_clock_that_was_set_back_does_not_stop_the_lane():
    buckets, _ = take_at(full(), 0, tokens=2_000)

    buckets, _ = take_at(buckets, -3_600, tokens=1_000)
    _, taken = take_at(buckets, -3_599, tokens=1_000)

    assert taken.granted


def test_clock_of_another_machine_a_little_behind_counts_no_time_twice():
    buckets, _ = take_at(full(), 1, tokens=2_000)

    before, _ = take_at(buckets, 0.5, tokens=2_000)

    assert before.updated_at == after(1)
    assert before.tokens_level == buckets.tokens_level


@pytest.mark.parametrize(
    "wrong", [{"tokens": -1}, {"rpm": 0}, {"tpm": 0}, {"tpm": float("nan")}, {"burst": -1}]
)
def test_limits_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="lane"):
        take_at(full(), 0, **wrong)


limits = st.floats(1, 1e6)


@given(
    rpm=limits,
    tpm=st.floats(60, 1e7),
    burst=st.floats(0, 30),
    sizes=st.lists(st.integers(0, 50_000), min_size=1, max_size=60),
    factor=st.floats(0, 1),
)
def test_waiting_as_told_is_always_enough_and_the_rate_is_never_passed(rpm, tpm, burst, sizes, factor):
    """Whoever waits as told gets in at the next try; grants never pass rate × time + burst."""
    buckets = adjust(full(rpm, tpm, burst), rate_factor=factor, now=START)
    now, granted_tokens, largest = 0.0, 0, 0

    for size in sizes:
        buckets, taken = take_at(buckets, now, tokens=size, rpm=rpm, tpm=tpm, burst=burst)
        if not taken.granted:
            # The smallest step of a datetime is a microsecond.
            now += taken.wait_seconds + 2e-6
            buckets, taken = take_at(buckets, now, tokens=size, rpm=rpm, tpm=tpm, burst=burst)
        assert taken.granted
        granted_tokens += size
        largest = max(largest, size)

    slack = 1 + 1e-4 * (tpm + granted_tokens)
    assert granted_tokens <= tpm / 60 * (now + burst) + largest + slack
    assert len(sizes) <= rpm / 60 * (now + burst) + 1 + 1e-4 * (rpm + len(sizes)) + 1


@given(st.lists(st.floats(0, 30), max_size=20), st.floats(0.5, 1))
def test_refill_does_not_depend_on_how_often_the_lane_is_looked_at(pauses, factor):
    empty, _ = take_at(full(burst=1e6), 0, tokens=2e9, burst=1e6)
    once = often = adjust(empty, rate_factor=factor, now=START)

    now = 0.0
    for pause in pauses:
        now += pause
        often, _ = take_at(often, now, tokens=1e12, burst=1e6)
    once, _ = take_at(once, now, tokens=1e12, burst=1e6)

    assert often.tokens_level == pytest.approx(once.tokens_level, rel=1e-6, abs=1)
