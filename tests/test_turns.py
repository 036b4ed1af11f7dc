"""Turns between processes at one lane: simulated askers that wait as they are told to."""

import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import turns
from holdfast.buckets import Ask, LaneBuckets, fresh, take
from holdfast.turns import ASK_AGAIN_SECONDS_MAX, LATE_SECONDS_MAX

START = datetime(2030, 1, 1, tzinfo=UTC)
RPM, TPM, BURST = 500.0, 450_000.0, 2.0
LEAK_SECONDS_MAX = ASK_AGAIN_SECONDS_MAX + LATE_SECONDS_MAX


@dataclass
class Process:
    """A process with calls of some size; never out of them unless `calls` says so."""

    name: str
    weight: float = 1.0
    tokens: tuple[int, int] = (4_000, 4_000)
    calls: int = 1_000_000
    begins: float = 0.0
    dies: float = float("inf")


@dataclass
class Run:
    grants: list[tuple[float, str, int]]
    asked: int
    lane: LaneBuckets

    def minutes(self) -> dict[str, float]:
        """Return how much of the lane each has had."""
        had: dict[str, float] = defaultdict(float)
        for _, name, tokens in self.grants:
            had[name] += max(1 / RPM, tokens / TPM)
        return had

    def times(self, name: str) -> list[float]:
        return [at for at, whose, _ in self.grants if whose == name]


def ask(name: str, weight: float = 1.0, tokens: int = 4_000, *, more: bool = False) -> Ask:
    return Ask(
        tokens=tokens,
        requests_per_minute=RPM,
        tokens_per_minute=TPM,
        burst_seconds=BURST,
        asker=name,
        weight=weight,
        more_waiting=more,
    )


def simulate(*processes: Process, seconds: float, seed: int = 0, late: float = 0.005) -> Run:
    """Let everyone ask when it was told to, up to `late` seconds later."""
    rng = random.Random(seed)
    lane = fresh(now=START)
    due = {each.name: each.begins + rng.random() * late for each in processes}
    by_name = {each.name: each for each in processes}
    left = {each.name: each.calls for each in processes}
    size = {each.name: rng.randint(*each.tokens) for each in processes}
    grants, asked = [], 0
    while due:
        name = min(due, key=due.__getitem__)
        process, now = by_name[name], due.pop(name)
        if now > min(seconds, process.dies):
            continue
        asked += 1
        wanted = ask(name, process.weight, size[name], more=left[name] > 1)
        lane, taken = take(lane, wanted, now=START + timedelta(seconds=now))
        if taken.granted:
            grants.append((now, name, size[name]))
            left[name] -= 1
            size[name] = rng.randint(*process.tokens)
        if left[name]:
            due[name] = now + min(taken.wait_seconds, ASK_AGAIN_SECONDS_MAX) + rng.random() * late
    return Run(grants, asked, lane)


processes = st.lists(
    st.builds(
        lambda weight, low, more: (weight, (low, low + more)),
        st.sampled_from([0.125, 1.0, 2.0, 8.0]),
        st.integers(10, 8_000),
        st.integers(0, 16_000),
    ),
    min_size=1,
    max_size=5,
).map(lambda drawn: [Process(f"p{n}", weight, size) for n, (weight, size) in enumerate(drawn)])


@settings(max_examples=20, deadline=None)
@given(processes, st.integers(0, 9))
def test_limits_hold_over_every_window(drawn, seed):
    run = simulate(*drawn, seconds=60, seed=seed)

    largest = max((tokens for _, _, tokens in run.grants), default=0)
    for first in range(0, len(run.grants), 7):
        tokens = 0
        for count, (at, _, size) in enumerate(run.grants[first:], 1):
            passed = at - run.grants[first][0]
            tokens += size
            assert tokens <= TPM / 60 * (passed + BURST) + largest + 1
            assert count <= RPM / 60 * (passed + BURST) + 1


@settings(max_examples=20, deadline=None)
@given(processes, st.integers(0, 9))
def test_processes_that_always_wait_share_by_weight(drawn, seed):
    """Each has had its share of what all had, give or take two of the largest calls."""
    run = simulate(*drawn, seconds=120, seed=seed)

    had, weights = run.minutes(), sum(each.weight for each in drawn)
    largest = max(max(1 / RPM, each.tokens[1] / TPM) for each in drawn)
    for each in drawn:
        assert abs(had[each.name] - sum(had.values()) * each.weight / weights) <= 2 * largest


@settings(max_examples=10, deadline=None)
@given(processes, st.integers(0, 9))
def test_sharing_wastes_nothing_of_the_lane(drawn, seed):
    run = simulate(*drawn, seconds=120, seed=seed)

    spent = max(len(run.grants) / RPM, sum(tokens for *_, tokens in run.grants) / TPM)
    assert spent >= 0.97 * (120 - 10) / 60


def test_light_process_is_not_starved_by_a_stream_of_new_heavy_ones():
    stream = [
        Process(f"new{number}", weight=8, calls=1, begins=number * 1.1, tokens=(8_000, 8_000))
        for number in range(273)
    ]
    run = simulate(Process("light", weight=0.125, tokens=(8_000, 8_000)), *stream, seconds=300)

    times = [0.0, *run.times("light"), 300.0]
    # Its share is a 65th if one of the others waits all the time; a call is 1.07 s of the lane.
    assert max(later - earlier for earlier, later in pairwise(times)) < 2 * 65 * 1.07


@pytest.mark.parametrize("tokens", [400, 4_000, 16_000])
def test_few_calls_of_a_newcomer_are_not_behind_a_long_line(tokens):
    """They wait for the debt of the call before, and for one call of the other between two."""
    busy = Process("busy", calls=161)
    run = simulate(busy, Process("new", calls=4, begins=20, tokens=(tokens, tokens)), seconds=200)

    slot, own = 4_000 / TPM * 60, tokens / TPM * 60
    assert run.times("new")[-1] - 20 <= slot + 4 * own + max(4 * own, slot) + 0.1


def test_urgent_newcomer_passes_a_background_process_at_once():
    busy = Process("busy", weight=0.125, calls=161, tokens=(8_000, 8_000))
    run = simulate(busy, Process("urgent", weight=8, calls=4, begins=20), seconds=200)

    between = [at for at in run.times("busy") if 20 < at < run.times("urgent")[-1]]
    assert run.times("urgent")[-1] - 20 <= 8_000 / TPM * 60 + 4 * 4_000 / TPM * 60 + 0.1
    assert between == []


@pytest.mark.parametrize("tokens", [4_000, 15_000, 200_000])
def test_process_that_dies_in_the_line_holds_the_others_up_for_seconds_only(tokens):
    dead = Process("dead", weight=8, begins=9, dies=10, tokens=(tokens, tokens))
    run = simulate(Process("alive", tokens=(1_000, 1_000)), dead, seconds=120)

    died = max(run.times("dead"), default=9)
    debt = max(0, tokens - TPM / 60 * BURST) / TPM * 60
    later = [at for at in run.times("alive") if at > died]
    assert later[0] <= 10 + debt + LEAK_SECONDS_MAX + 0.1
    assert max(b - a for a, b in pairwise(later)) <= LEAK_SECONDS_MAX
    assert [place.asker for place in run.lane.line] == ["alive"]


def test_one_process_asks_once_for_each_call():
    run = simulate(Process("alone", calls=100), seconds=120)

    # The first calls find a full lane; from then on each waits for as long as it was told.
    assert len(run.grants) == 100
    assert run.asked == 100
    assert run.lane.line == ()


def test_processes_that_share_ask_about_twice_for_each_call():
    run = simulate(Process("a"), Process("b", weight=8), Process("c"), seconds=300)

    assert run.asked <= 2.2 * len(run.grants)


def test_many_waiting_processes_ask_no_more_than_their_places_need():
    run = simulate(*(Process(f"p{n}") for n in range(60)), seconds=120)

    assert run.asked <= 120 / ASK_AGAIN_SECONDS_MAX * 60 + 3 * len(run.grants)


def test_line_is_bounded_and_whoever_does_not_fit_is_still_served(monkeypatch):
    monkeypatch.setattr(turns, "PLACES_MAX", 8)
    run = simulate(*(Process(f"p{n}") for n in range(12)), seconds=120)

    assert len(run.lane.line) == 8
    had = run.minutes()
    assert len(had) == 12
    assert max(had.values()) <= 3 * min(had.values())


def test_what_a_process_has_had_outlasts_a_change_of_its_weight():
    """An urgent call of a process that has had an unhurried one does not pay eightfold for it."""
    lane = fresh(now=START)
    lane, _ = take(lane, ask("busy", tokens=100_000, more=True), now=START)
    lane, _ = take(lane, ask("other", tokens=8_000, more=True), now=START)
    lane, _ = take(lane, ask("busy", weight=80, tokens=4_000), now=START)

    busy, other = sorted(lane.line, key=lambda place: place.asker)
    assert busy.finish < other.finish


@pytest.mark.parametrize("weight", [0, -1, float("nan")])
def test_weight_that_cannot_be_is_refused(weight):
    with pytest.raises(ValueError, match="weight"):
        take(fresh(now=START), ask("a", weight), now=START)
