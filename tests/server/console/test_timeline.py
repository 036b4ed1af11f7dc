"""What a job has been through, as bars."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast.model import Event, Job, JobStatus
from holdfast.server.console.timeline import ROWS_MAX, TYPES, timeline_of

Told = tuple[float, str, dict[str, Any]]

START = datetime(2026, 1, 1, tzinfo=UTC)


def job(**changes) -> Job:
    fields: dict[str, Any] = {
        "job_id": "job_1",
        "kind": "report",
        "queue": "default",
        "status": JobStatus.RUNNING,
        "input": b"null",
        "created_at": START,
        "available_at": START,
    }
    return Job(**(fields | changes))


def events(*told) -> list[Event]:
    return [
        Event(
            job_id="job_1",
            seq=number,
            type=kind,
            data=json.dumps(data).encode(),
            at=START + timedelta(seconds=seconds),
        )
        for number, (seconds, kind, data) in enumerate(told, 1)
    ]


def drawn(told, seconds: float, **changes):
    found = timeline_of(job(**changes), events(*told), START + timedelta(seconds=seconds))
    assert found is not None
    return found


def spans(row) -> list[tuple[str, float, float]]:
    return [(bar.kind, bar.x, bar.width) for bar in row.bars]


CLAIMED: tuple[Told, ...] = (
    (0, "job.queued", {}),
    (10, "attempt.started", {"attempt": 1, "epoch": 1, "worker_id": "worker_a"}),
)


def test_nothing_is_drawn_of_a_job_without_events():
    assert timeline_of(job(), [], START) is None


def test_wait_for_a_worker_and_the_attempt_under_way_are_drawn_up_to_now():
    found = drawn(CLAIMED, 100)

    line, attempt = found.attempts
    assert (line.label, spans(line)) == ("", [("queued", 0, 10)])
    assert (attempt.label, spans(attempt)) == ("worker_a", [("run", 10, 90)])
    assert attempt.bars[0].title == "attempt 1 on worker_a: running for 1 min 30 s"
    assert found.ticks == (
        (0, "0"),
        (20, "20 s"),
        (40, "40 s"),
        (60, "1 min"),
        (80, "1 min 20 s"),
        (100, "1 min 40 s"),
    )
    assert found.live


def test_lost_worker_and_its_successor_have_rows_of_their_own():
    told = (
        *CLAIMED,
        (12, "step.started", {"key": "a", "step_attempt": 1}),
        (50, "attempt.lost", {"worker_id": "worker_a"}),
        (60, "attempt.started", {"attempt": 1, "epoch": 2, "worker_id": "worker_b"}),
    )

    found = drawn(told, 100)

    assert [row.label for row in found.attempts] == ["", "worker_a", "worker_b"]
    assert spans(found.attempts[0]) == [("queued", 0, 10), ("queued", 50, 10)]
    assert spans(found.attempts[1]) == [("lost", 10, 40)]
    assert spans(found.steps[0]) == [("lost", 11.9, 38.1)]


def test_failed_try_and_the_wait_before_the_next_are_seen():
    error = {"type": "RateLimitedError", "code": "rate_limited"}
    told = (
        *CLAIMED,
        (20.1, "step.started", {"key": "a", "step_attempt": 1}),
        (40, "step.retrying", {"key": "a", "step_attempt": 1, "wait_seconds": 10, "error": error}),
        (50.1, "step.started", {"key": "a", "step_attempt": 2}),
        (90, "step.completed", {"key": "a", "seconds": 40, "attempts": 2}),
    )

    (row,) = drawn(told, 100).steps

    assert spans(row) == [("failed", 20, 20), ("backoff", 40, 10), ("run", 50, 40)]
    assert row.bars[0].title == "try 1 failed: rate_limited"
    assert row.told == "2 tries"


def test_wait_for_a_lane_is_no_work():
    told = (
        *CLAIMED,
        (20.1, "step.started", {"key": "a", "step_attempt": 1}),
        (21, "step.waiting", {"key": "a", "step_attempt": 1, "lane": "openai:m"}),
        (60, "step.admitted", {"key": "a", "step_attempt": 1, "lane": "openai:m", "wait_seconds": 40}),
        (90, "step.completed", {"key": "a", "seconds": 70, "attempts": 1}),
    )

    (row,) = drawn(told, 100).steps

    assert spans(row) == [("lane", 20, 40), ("run", 60, 30)]
    assert row.told == "40 s at lanes"


def test_wait_for_a_lane_that_goes_on_is_drawn_up_to_now():
    told = (
        *CLAIMED,
        (20.1, "step.started", {"key": "a", "step_attempt": 1}),
        (21, "step.waiting", {"key": "a", "step_attempt": 1, "lane": "openai:m"}),
    )

    (row,) = drawn(told, 100).steps

    assert ("lane", 20, 80) in spans(row)


def test_step_that_fails_the_job_ends_in_a_failed_try():
    error = {
        "type": "StepFailedError",
        "code": "step_failed",
        "message": "",
        "details": {"step_key": "a"},
    }
    told = (
        *CLAIMED,
        (20.1, "step.started", {"key": "a", "step_attempt": 1}),
        (20.1, "step.started", {"key": "b", "step_attempt": 1}),
        (80, "job.failed", {"error": error}),
    )

    found = drawn(told, 100, status=JobStatus.FAILED, finished_at=START + timedelta(seconds=80))

    first, second = found.steps
    assert (spans(first), spans(second)) == ([("failed", 25, 75)], [("cancelled", 25, 75)])
    assert spans(found.attempts[1]) == [("failed", 12.5, 87.5)]
    assert not found.live


def test_suspension_is_drawn_until_the_job_is_queued_again():
    told = (
        *CLAIMED,
        (30, "job.suspended", {"reason": "budget", "until": None}),
        (70, "job.queued", {}),
        (80, "attempt.started", {"attempt": 1, "epoch": 2, "worker_id": "worker_a"}),
    )

    found = drawn(told, 100)

    assert spans(found.attempts[0]) == [("queued", 0, 10), ("suspended", 30, 40), ("queued", 70, 10)]
    assert found.attempts[0].bars[1].title == "waited for budget for 40 s"
    assert spans(found.attempts[1]) == [("run", 10, 20), ("run", 80, 20)]


def test_short_step_is_drawn_by_what_its_completion_tells():
    told = (*CLAIMED, (60, "step.completed", {"key": "a", "seconds": 0.05, "attempts": 1}))

    (row,) = drawn(told, 100).steps

    assert spans(row) == [("run", 59.95, 0.4)]


def test_steps_of_the_engine_are_left_out_and_undos_are_not():
    told = (
        *CLAIMED,
        (20, "step.completed", {"key": "holdfast:artifact/a.pdf", "seconds": 1, "attempts": 1}),
        (30, "step.completed", {"key": "holdfast:undo/pay", "seconds": 1, "attempts": 1}),
    )

    assert [row.label for row in drawn(told, 100).steps] == ["holdfast:undo/pay"]


def test_steps_of_one_group_share_a_row_when_there_are_many():
    many = [
        (20 + number / 10, "step.completed", {"key": f"part/{number}", "seconds": 1, "attempts": 1})
        for number in range(ROWS_MAX + 1)
    ]

    found = drawn((*CLAIMED, *many), 100)

    (row,) = found.steps
    assert (row.label, row.told, len(row.bars)) == ("part", "51 steps", 51)
    assert (found.grouped, found.left_out) == (True, 0)
    assert row.bars[0].title.startswith("part/0: ")


def test_groups_beyond_the_limit_are_counted():
    many = [
        (20, "step.completed", {"key": f"step {number}", "seconds": 1, "attempts": 1})
        for number in range(ROWS_MAX + 7)
    ]

    found = drawn((*CLAIMED, *many), 100)

    assert (len(found.steps), found.left_out) == (ROWS_MAX, 7)


@pytest.mark.parametrize("first", range(8))
def test_history_without_its_beginning_can_be_drawn(first):
    error = {"type": "ValueError", "code": "exception"}
    told: list[Told] = [
        *CLAIMED,
        (12, "step.started", {"key": "a", "step_attempt": 1}),
        (13, "step.retrying", {"key": "a", "step_attempt": 1, "wait_seconds": 1, "error": error}),
        (14, "step.admitted", {"key": "a", "step_attempt": 2, "lane": "m", "wait_seconds": 1}),
        (15, "step.completed", {"key": "a", "seconds": 1, "attempts": 2}),
        (16, "attempt.released", {}),
        (17, "job.cancelled", {}),
    ]

    found = drawn(told[first:], 100)

    bars = [bar for row in (*found.attempts, *found.steps) for bar in row.bars]
    assert all(0 <= bar.x <= 100 and bar.width > 0 for bar in bars)


async def test_types_are_all_that_a_job_emits_of_its_way(tmp_path):
    """The names are those of the engine: a wrong one would draw nothing."""
    from holdfast.testing.harness import Harness

    async def work(context) -> None:
        await context.step("a", lambda: 1)

    async with Harness(tmp_path) as harness:
        harness.job("work", work)
        await harness.start_worker()
        job_id = await harness.submit("work")
        await harness.end_of(job_id)

        told = await harness.event_types(job_id)

    assert set(told) - {"progress"} <= set(TYPES)
