"""Columns of spend: where they stand and how high they are."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from holdfast.model import Usage
from holdfast.server.console.charts import HEIGHT, OTHERS, SERIES_MAX, chart_of
from holdfast.store.service import Spend, SpendQuery

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
QUERY = SpendQuery(since=START, until=START + 4 * HOUR, slot=HOUR)


def spend(hour: int, name: str | None, usd: str) -> Spend:
    return Spend(at=START + hour * HOUR, name=name, usage=Usage(calls=1, usd=Decimal(usd)))


def test_every_span_has_a_column_with_the_dearest_name_at_the_bottom():
    chart = chart_of([spend(1, "a", "1"), spend(1, "b", "3"), spend(3, "a", "1")], QUERY, "")

    assert (chart.series, chart.totals) == (("b", "a"), (Decimal(3), Decimal(2)))
    assert [column.total for column in chart.columns] == [0, 4, 0, 1]
    assert [len(column.segments) for column in chart.columns] == [0, 2, 0, 1]
    bottom, top = chart.columns[1].segments
    assert (bottom.series, bottom.y + bottom.height) == (0, HEIGHT)
    assert (top.series, top.y + top.height) == (1, bottom.y)


def test_lines_stand_at_round_amounts_and_the_highest_column_fits():
    chart = chart_of([spend(0, "a", "7.30")], QUERY, "")

    assert [words for _, words in chart.lines] == ["$0", "$2.00", "$4.00", "$6.00", "$8.00"]
    (segment,) = chart.columns[0].segments
    assert segment.y >= 0
    assert segment.height == round(7.3 / 8 * HEIGHT, 2)


def test_small_amounts_have_lines_too():
    chart = chart_of([spend(0, "a", "0.00031")], QUERY, "")

    assert [words for _, words in chart.lines][-1] == "$0.0004"


def test_calls_that_cost_nothing_draw_nothing():
    chart = chart_of([spend(0, "a", "0")], QUERY, "")

    assert chart.lines == ()
    assert all(column.segments == () for column in chart.columns)


def test_smallest_names_are_added_up_as_others():
    rows = [spend(0, f"kind {number}", str(20 - number)) for number in range(SERIES_MAX + 3)]

    chart = chart_of(rows, QUERY, "")

    assert len(chart.series) == SERIES_MAX + 1
    assert (chart.series[-1], chart.totals[-1]) == (OTHERS, Decimal(14 + 13 + 12))
    assert chart.columns[0].total == sum(chart.totals)


def test_jobs_without_a_tenant_have_a_name():
    chart = chart_of([spend(0, None, "1")], QUERY, "no tenant")

    assert chart.series == ("no tenant",)


def test_labels_are_days_for_long_spans_and_never_too_many():
    month = SpendQuery(since=START, until=START + timedelta(days=30), slot=timedelta(days=1))

    chart = chart_of([spend(0, "a", "1")], month, "")

    labels = [column.label for column in chart.columns if column.label]
    assert labels[0] == "1 Jan"
    assert len(labels) <= 8
