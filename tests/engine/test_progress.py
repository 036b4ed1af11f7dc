from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from holdfast.engine.progress import ProgressMeter, step_group
from holdfast.model import Checkpoint, Progress
from holdfast.testing.clock import ManualClock


def meter(history=None, stored=None, checkpoints=None):
    return ProgressMeter(stored or Progress(), history or {}, checkpoints or {})


def test_group_of_a_step_is_its_key_up_to_the_slash():
    assert [step_group(key) for key in ("chapter/1/draft", "outline")] == ["chapter", "outline"]


def test_no_eta_without_a_basis():
    clock = ManualClock()
    counted = meter()

    assert counted.snapshot(clock).eta_seconds is None
    counted.begin_map("chapter", total=10, done=0, concurrency=2, clock=clock)
    assert counted.snapshot(clock).eta_seconds is None
    counted.finish_item(1, "one")
    assert counted.snapshot(clock).eta_seconds is None  # no time has gone by


def test_eta_follows_the_rate_of_the_running_map():
    clock = ManualClock()
    counted = meter()
    counted.begin_map("chapter", total=10, done=0, concurrency=2, clock=clock)
    clock.advance(20)
    counted.finish_item(2, "two")

    assert counted.snapshot(clock).eta_seconds == 80


def test_what_was_finished_before_says_nothing_of_the_rate():
    clock = ManualClock()
    counted = meter()
    counted.begin_map("chapter", total=10, done=8, concurrency=2, clock=clock)
    clock.advance(20)
    counted.finish_item(1, "nine")

    assert counted.snapshot(clock).eta_seconds == 20


def test_history_gives_an_eta_before_anything_has_finished():
    clock = ManualClock()
    counted = meter(history={"chapter": 30.0, "assemble": 5.0})
    counted.begin_map("chapter", total=10, done=0, concurrency=2, clock=clock)

    assert counted.snapshot(clock).eta_seconds == 10 / (2 / 30) + 5


def test_only_groups_that_have_not_begun_are_still_to_come():
    clock = ManualClock()
    checkpoints = {
        "outline": Checkpoint(key="outline"),
        "assemble": Checkpoint(key="assemble", finished=False),
    }
    counted = meter(history={"outline": 7.0, "assemble": 5.0, "cover": 2.0}, checkpoints=checkpoints)
    counted.report(1, 1, "all")
    counted.finish_step("cover", 2.0)

    assert counted.snapshot(clock).eta_seconds == 5


def test_eta_rises_only_gradually():
    """What was promised, less the time gone by, is corrected by a share of itself a second."""
    clock = ManualClock()
    counted = meter(stored=Progress(eta_seconds=100.0, at=clock.now()))
    counted.begin_map("chapter", total=1000, done=0, concurrency=1, clock=clock)
    clock.advance(2)
    counted.finish_item(1, "one")

    assert counted.snapshot(clock).eta_seconds == 98 + (100 * 0.25 + 1) * 2


def test_steps_are_counted_by_group():
    counted = meter()
    counted.finish_step("chapter/1", 2.0)
    counted.finish_step("chapter/2", 4.0)

    assert counted.step_seconds == {"chapter": (2, 6.0)}


@given(st.lists(st.tuples(st.floats(0.01, 600), st.integers(0, 5)), min_size=1, max_size=30))
def test_eta_never_jumps_up_by_more_than_it_may(moves):
    clock = ManualClock()
    counted = meter(history={"chapter": 3.0})
    counted.begin_map("chapter", total=200, done=0, concurrency=4, clock=clock)
    before = counted.snapshot(clock)
    for seconds, items in moves:
        clock.advance(seconds)
        counted.finish_item(items, "x")
        after = counted.snapshot(clock)
        elapsed = (after.at - before.at).total_seconds()
        if after.eta_seconds is not None and before.eta_seconds is not None:
            promised = max(0.0, before.eta_seconds - elapsed)
            allowed = promised + (before.eta_seconds * 0.25 + 1) * max(elapsed, 0.25)
            assert 0 <= after.eta_seconds <= allowed + 1e-6
        assert 0 <= after.fraction <= 1
        assert after.at - before.at >= timedelta(0)
        before = after
