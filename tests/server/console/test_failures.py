"""Failures put together by what was behind them."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.engine.outcomes import describe
from holdfast.errors import FatalError, RateLimitedError, StepFailedError
from holdfast.model import Job, JobStatus
from holdfast.server.console.failures import JOBS_SHOWN_MAX, cause_of, grouped_failures, step_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def failed(number: int, error: BaseException | None, kind: str = "report") -> Job:
    return Job(
        job_id=f"job_{number}",
        kind=kind,
        queue="default",
        status=JobStatus.FAILED,
        input=b"",
        error=None if error is None else describe(error),
        created_at=START,
        available_at=START,
        finished_at=START + timedelta(minutes=number),
    )


def in_step(key: str, cause: BaseException) -> StepFailedError:
    return StepFailedError(step_key=key, attempts=5, cause=cause)


@pytest.mark.parametrize(
    ("error", "cause", "step"),
    [
        (in_step("page/7", RateLimitedError("no")), "rate_limited", "page"),
        (in_step("page/7", KeyError("no")), "KeyError", "page"),
        (FatalError("no"), "fatal", ""),
        (ZeroDivisionError("no"), "ZeroDivisionError", ""),
    ],
)
def test_cause_is_what_the_steps_function_raised(error, cause, step):
    stored = describe(error)

    assert (cause_of(stored), step_of(stored)) == (cause, step)


def test_failed_step_stored_before_causes_were_is_known_as_that():
    from dataclasses import replace

    stored = describe(in_step("page/7", KeyError("no")))
    old = replace(stored, details={"step_key": "page/7"})

    assert (cause_of(old), cause_of(None), step_of(None)) == ("step_failed", "unknown", "")


def test_groups_are_by_kind_cause_and_step_the_largest_first():
    jobs = [
        failed(1, in_step("page/1", KeyError("a"))),
        failed(2, FatalError("x")),
        failed(3, in_step("page/2", KeyError("b"))),
        failed(4, in_step("page/2", KeyError("b")), kind="other"),
    ]

    groups = grouped_failures(jobs)

    assert [(group.kind, group.cause, group.step, len(group.jobs)) for group in groups] == [
        ("report", "KeyError", "page", 2),
        ("other", "KeyError", "page", 1),
        ("report", "fatal", "", 1),
    ]
    assert groups[0].last_at == START + timedelta(minutes=3)


def test_only_the_newest_of_a_group_are_named():
    jobs = [failed(number, FatalError("x")) for number in range(JOBS_SHOWN_MAX + 3)]

    (group,) = grouped_failures(jobs)

    assert [job.job_id for job in group.shown] == [f"job_{number}" for number in range(JOBS_SHOWN_MAX)]
