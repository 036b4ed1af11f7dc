from decimal import Decimal

import pytest

from holdfast.model import Budget, Concurrency, JobStatus, Progress


def test_three_statuses_are_terminal():
    assert {status for status in JobStatus if status.terminal} == {
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
    }


@pytest.mark.parametrize(
    ("given", "kept"), [(1, "1"), (0.1, "0.1"), ("2.50", "2.50"), (Decimal(3), "3")]
)
def test_budget_takes_money_exactly_as_written(given, kept):
    assert str(Budget(usd=given).usd) == kept


@pytest.mark.parametrize(
    "options", [{"usd": -1}, {"usd": "nan"}, {"usd": Decimal("inf")}, {"tokens": -1}]
)
def test_budget_that_is_no_amount_is_refused(options):
    with pytest.raises(ValueError, match="budget"):
        Budget(**options)


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 1, "per": "moon"}])
def test_concurrency_that_cannot_work_is_refused(options):
    with pytest.raises(ValueError, match="concurrency"):
        Concurrency(**options)


@pytest.mark.parametrize(("done", "total", "share"), [(0, 0, 0.0), (1, 4, 0.25), (5, 4, 1.0)])
def test_fraction_is_between_nothing_and_all(done, total, share):
    assert Progress(done=done, total=total).fraction == share
