"""How values look on pages."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from holdfast.model import Job, JobStatus, SuspendReason
from holdfast.server.console import filters

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "now"), (90, "2 min ago"), (7_200, "2 h ago"), (-300, "in 5 min")]
)
def test_time_is_relative_with_the_exact_one_as_title(seconds, words):
    shown = filters.when(NOW - timedelta(seconds=seconds), NOW)

    assert f"data-relative>{words}</time>" in shown
    assert "2026-01-01" in shown


@pytest.mark.parametrize(
    ("usd", "typed"),
    [(None, ""), ("2.1", "2.10"), ("0.0005", "0.0005"), ("100", "100.00"), ("0", "0.00")],
)
def test_amount_is_as_people_type_it_and_exact(usd, typed):
    assert filters.amount(None if usd is None else Decimal(usd)) == typed


def test_words_of_a_badge_are_escaped():
    assert "<b>" not in filters.badge("failed", "<b>")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": JobStatus.RUNNING}, "running"),
        ({"status": JobStatus.RUNNING, "cancel_requested_at": NOW}, "cancelling"),
        (
            {"status": JobStatus.SUSPENDED, "suspend_reason": SuspendReason.BUDGET},
            "waits for budget",
        ),
        ({"status": JobStatus.CANCELLED, "cancel_requested_at": NOW}, "cancelled"),
    ],
)
def test_status_says_what_is_waited_for(changes, words):
    job = Job(
        job_id="job_1", kind="k", queue="q", input=b"", created_at=NOW, available_at=NOW, **changes
    )

    assert f"</span> {words}</span>" in filters.status(job)


def test_every_reason_has_its_words():
    assert set(filters._REASONS) == {reason.value for reason in SuspendReason}


def test_every_status_has_a_sign_of_its_own():
    assert set(filters.SHAPES) == {status.value for status in JobStatus}
    assert len(set(filters.SHAPES.values())) == len(JobStatus)


def test_json_is_laid_out_and_cut_where_a_page_would_become_too_long():
    assert filters.pretty_json(b'{"a":[1]}') == '{\n  "a": [\n    1\n  ]\n}'
    assert filters.pretty_json(b"") == ""
    assert len(filters.pretty_json(b'"' + b"x" * 1_000_000 + b'"')) < 60_000


def test_json_that_is_nested_too_deeply_to_be_laid_out_is_shown_as_it_is():
    deep = b"[" * 20_000 + b"]" * 20_000

    assert filters.pretty_json(deep) == deep.decode()
