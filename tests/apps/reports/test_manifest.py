from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.apps.reports.manifest import Batch, horoscope_manifest, split
from holdfast.apps.reports.models import ReportRequest, WritingOptions
from tests.apps.reports.conftest import BIRTH, report_request

starts = st.dates(date(1999, 1, 1), date(2052, 8, 1))


def manifest_of(start: date, **options: int) -> tuple[Batch, ...]:
    return horoscope_manifest(ReportRequest(birth=BIRTH, start=start, options=WritingOptions(**options)))


def test_manifest_has_the_published_batches_periods_and_answers():
    manifest = horoscope_manifest(report_request())

    assert Counter(batch.kind for batch in manifest) == {
        "daily": 122,
        "weekly": 26,
        "monthly": 12,
        "yearly": 1,
    }
    assert sum(len(batch.periods) for batch in manifest) == 430
    assert sum(batch.answers for batch in manifest) == 8_600
    ids = {batch.id for batch in manifest}
    assert {"daily_2026-05-20", "weekly_2026-w21", "monthly_2026-05", "yearly_2026"} <= ids


def test_output_budget_fits_the_words_and_never_falls_below_the_published_floor():
    manifest = horoscope_manifest(report_request())
    budgets = {batch.kind: batch.output_tokens(16_000) for batch in reversed(manifest)}

    assert budgets["daily"] >= 9_000
    assert budgets["weekly"] >= 6_000
    assert budgets["monthly"] >= 8_000
    assert budgets["yearly"] == 10_000


def test_output_budget_never_exceeds_what_the_model_can_write():
    assert {batch.output_tokens(4_096) for batch in horoscope_manifest(report_request())} <= {
        4_000,
        4_096,
    }


@settings(max_examples=12, deadline=None)
@given(start=starts)
def test_any_start_gives_the_whole_year(start: date):
    manifest = manifest_of(start)
    periods = [period for batch in manifest for period in batch.periods]
    days = [period for period in periods if period.kind == "daily"]
    weeks = [period for period in periods if period.kind == "weekly"]
    months = [period for period in periods if period.kind == "monthly"]

    assert len(manifest) == 161
    assert len({batch.id for batch in manifest}) == 161
    assert len({(period.kind, period.id) for period in periods}) == 430
    assert [day.first_day for day in days] == [start + timedelta(n) for n in range(365)]
    assert weeks[0].first_day <= start <= weeks[0].last_day
    assert [week.first_day - weeks[0].first_day for week in weeks] == [
        timedelta(7 * n) for n in range(52)
    ]
    assert months[0].first_day <= start <= months[0].last_day
    assert [month.last_day + timedelta(1) for month in months[:-1]] == [
        month.first_day for month in months[1:]
    ]


@settings(max_examples=20, deadline=None)
@given(start=starts, days=st.integers(1, 365), answers=st.integers(1, 20))
def test_shorter_report_has_the_weeks_and_months_its_days_touch(start: date, days: int, answers: int):
    periods = [
        period
        for batch in manifest_of(start, days=days, answers_per_period=answers)
        for period in batch.periods
    ]
    last = start + timedelta(days - 1)

    assert sum(period.kind == "daily" for period in periods) == days
    assert all(period.first_day <= last for period in periods)
    assert all(period.last_day >= start for period in periods)
    assert {len({question.text for question in period.questions}) for period in periods} == {answers}


@pytest.mark.parametrize(
    ("start", "first_week"),
    [
        (date(2027, 1, 1), "weekly_2026-w53"),
        (date(2026, 12, 31), "weekly_2026-w53"),
        (date(2024, 12, 30), "weekly_2025-w01"),
        (date(2028, 2, 29), "weekly_2028-w09"),
    ],
)
def test_first_week_is_named_by_its_iso_year(start: date, first_week: str):
    assert first_week in {batch.id for batch in manifest_of(start)}


def test_same_request_gives_the_same_manifest():
    assert horoscope_manifest(report_request()) == horoscope_manifest(report_request())


def test_strict_order_is_that_of_the_calendar():
    manifest = horoscope_manifest(report_request(strict_order=True, days=40))

    assert [batch.id for batch in manifest[:4]] == [
        "yearly_2026",
        "monthly_2026-05",
        "weekly_2026-w21",
        "daily_2026-05-20",
    ]


def test_longest_batches_come_first_unless_order_is_strict():
    manifest = horoscope_manifest(report_request())

    weights = [batch.weight for batch in manifest]
    assert weights == sorted(weights, reverse=True)
    assert [batch.kind for batch in manifest[-12:]] == ["monthly"] * 12


def test_split_goes_by_period_then_by_half_the_questions():
    batch = horoscope_manifest(report_request())[0]

    days = split(batch)
    halves = split(days[0])

    assert [piece.id for piece in days] == [f"{batch.id}/{letter}" for letter in "abc"]
    assert [piece.id for piece in halves] == [f"{batch.id}/a/a", f"{batch.id}/a/b"]
    assert [[q.number for q in piece.periods[0].questions] for piece in halves] == [
        list(range(1, 11)),
        list(range(11, 21)),
    ]


def test_splitting_to_the_end_loses_and_repeats_no_question():
    batch = horoscope_manifest(report_request())[0]
    waiting, done = [batch], []
    while waiting:
        piece = waiting.pop()
        pieces = split(piece)
        if pieces == (piece,):
            done.append(piece)
        else:
            waiting += pieces

    asked = [(period.id, q.number) for period in batch.periods for q in period.questions]
    assert sorted((piece.periods[0].id, piece.periods[0].questions[0].number) for piece in done) == asked
    assert len({piece.id for piece in done}) == len(asked)
