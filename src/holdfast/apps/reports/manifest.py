"""What will be written, fixed before the first model call: periods in batches with stable ids.

The manifest follows from the start date and the options alone, so every attempt of a job, on any
machine, gives its batches the same names.

A full horoscope has 365 days from the start; the 52 ISO weeks beginning with the week of the
start; the 12 months beginning with the month of the start; one year. So its first week and month
may begin before the start, and its last days (up to seven of them in the last week, up to 30 in
a thirteenth month) have no week or month of their own: they are printed as days only. A shorter
horoscope has the weeks and months that its days touch. Leap days, 53-week years and year ends
need no rule beyond this: days are counted, weeks are named by their ISO year.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict

from holdfast.apps.reports.models import ReportRequest, WritingOptions
from holdfast.apps.reports.questions import PeriodKind, Question, choose_questions

WEEKS: Final = 52
MONTHS: Final = 12

WORDS: Final[dict[PeriodKind, tuple[int, int]]] = {
    "daily": (80, 150),
    "weekly": (110, 190),
    "monthly": (140, 240),
    "yearly": (180, 300),
}
"""Word range of one answer."""

OUTPUT_TOKENS_FLOOR: Final[dict[PeriodKind, int]] = {
    "daily": 4_000,
    "weekly": 6_000,
    "monthly": 8_000,
    "yearly": 10_000,
    "section": 4_000,
}
"""Least `max_output_tokens` of a batch, as published."""

TOKENS_PER_WORD: Final = 1.4
LENGTH_HEADROOM: Final = 1.2
"""A batch may be this much longer than the middle of its word range before it is cut off."""
TOKENS_PER_ANSWER: Final = 14
"""What JSON adds to an answer."""

MONTH_NAMES: Final = (
    "January February March April May June July August September October November December".split()
)


class Period(BaseModel):
    """A day, a week, a month, a year, or a section of a shorter report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Unique in the report: `2026-05-20`, `2026-w21`, `2026-05`, `2026`."""
    kind: PeriodKind
    first_day: date
    last_day: date
    words: tuple[int, int]
    """Range of words of one answer."""
    questions: tuple[Question, ...]
    """Those to answer; only a part of the period's in a piece of a split batch."""
    title: str = ""
    """Heading of a section; periods of the calendar are named by their days."""
    focus: tuple[str, ...] = ()
    """Bodies that a section looks at first."""


class Batch(BaseModel):
    """What one model call writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Names the step: `daily_2026-05-20`; pieces add `/a`, `/b`."""
    label: str
    """What people are told of it: `Writing May 2026`."""
    periods: tuple[Period, ...]

    @property
    def kind(self) -> PeriodKind:
        """Kind of all its periods."""
        return self.periods[0].kind

    @property
    def answers(self) -> int:
        """Number of answers to write."""
        return sum(len(period.questions) for period in self.periods)

    @property
    def weight(self) -> float:
        """Words to expect: how much of the progress the batch is."""
        return sum(len(period.questions) * sum(period.words) / 2 for period in self.periods)

    def output_tokens(self, most: int) -> int:
        """Return `max_output_tokens`: answers times words, at least the floor, at most `most`."""
        needed = self.weight * TOKENS_PER_WORD * LENGTH_HEADROOM + self.answers * TOKENS_PER_ANSWER
        return min(most, max(OUTPUT_TOKENS_FLOOR[self.kind], math.ceil(needed)))


def horoscope_manifest(request: ReportRequest) -> tuple[Batch, ...]:
    """Return the batches of a personal horoscope: 161 with the default options.

    The order is that of writing: the longest batches first, those of one length by the calendar,
    so that no long call is left to wait for at the end. In strict order the year comes first and
    a month and a week before its days, as in print.
    """
    start, options = request.start, request.options
    days, weeks, months, year = _periods(start, options)
    batches = [
        *_batches(days, options.days_per_batch),
        *_batches(weeks, options.weeks_per_batch),
        *_batches(months, 1),
        *_batches([year], 1),
    ]
    if options.strict_order:
        rank = {"yearly": 0, "monthly": 1, "weekly": 2, "daily": 3}
        return tuple(
            sorted(
                batches,
                key=lambda batch: (batch.kind != "yearly", _begin(batch, start), rank[batch.kind]),
            )
        )
    return tuple(sorted(batches, key=lambda batch: (-batch.weight, _begin(batch, start))))


def split(batch: Batch) -> tuple[Batch, ...]:
    """Return smaller batches for one that did not fit: by period, then by half the questions.

    A batch of one question is returned as it is: there is nothing left to split.
    """
    if len(batch.periods) > 1:
        pieces = [(period,) for period in batch.periods]
    else:
        period = batch.periods[0]
        middle = math.ceil(len(period.questions) / 2)
        halves = (period.questions[:middle], period.questions[middle:])
        pieces = [(period.model_copy(update={"questions": half}),) for half in halves if half]
    if len(pieces) == 1:
        return (batch,)
    return tuple(
        Batch(id=f"{batch.id}/{_letters(index)}", label=batch.label, periods=piece)
        for index, piece in enumerate(pieces)
    )


def _periods(
    start: date, options: WritingOptions
) -> tuple[list[Period], list[Period], list[Period], Period]:
    last = start + timedelta(days=options.days - 1)
    count = options.answers_per_period
    days = [_day(start + timedelta(days=offset), count) for offset in range(options.days)]
    monday = start - timedelta(days=start.weekday())
    weeks = [_week(monday + timedelta(weeks=turn), count) for turn in range(WEEKS)]
    first_month = start.year * 12 + start.month - 1
    months = [_month(first_month + turn, count) for turn in range(MONTHS)]
    year = Period(
        id=f"{start.year}",
        kind="yearly",
        first_day=start,
        last_day=last,
        words=WORDS["yearly"],
        questions=choose_questions("yearly", start.year, count),
    )
    return (
        days,
        [week for week in weeks if week.first_day <= last],
        [month for month in months if month.first_day <= last],
        year,
    )


def _day(day: date, count: int) -> Period:
    return Period(
        id=day.isoformat(),
        kind="daily",
        first_day=day,
        last_day=day,
        words=WORDS["daily"],
        questions=choose_questions("daily", day.toordinal(), count),
    )


def _week(monday: date, count: int) -> Period:
    year, week, _ = monday.isocalendar()
    return Period(
        id=f"{year}-w{week:02d}",
        kind="weekly",
        first_day=monday,
        last_day=monday + timedelta(days=6),
        words=WORDS["weekly"],
        questions=choose_questions("weekly", monday.toordinal() // 7, count),
    )


def _month(number: int, count: int) -> Period:
    first_day = date(number // 12, number % 12 + 1, 1)
    following = (first_day + timedelta(days=31)).replace(day=1)
    return Period(
        id=f"{first_day:%Y-%m}",
        kind="monthly",
        first_day=first_day,
        last_day=following - timedelta(days=1),
        words=WORDS["monthly"],
        questions=choose_questions("monthly", number, count),
    )


def _batches(periods: Sequence[Period], size: int) -> Iterator[Batch]:
    for at in range(0, len(periods), size):
        group = tuple(periods[at : at + size])
        yield Batch(id=f"{group[0].kind}_{group[0].id}", label=_label(group), periods=group)


def _label(periods: Iterable[Period]) -> str:
    first = next(iter(periods))
    if first.kind == "yearly":
        return f"Writing your year {first.id}"
    return f"Writing {MONTH_NAMES[first.first_day.month - 1]} {first.first_day.year}"


def _begin(batch: Batch, start: date) -> date:
    """Return when a batch begins to matter: the first week and month begin before the start."""
    return max(start, batch.periods[0].first_day)


def _letters(index: int) -> str:
    """Name a piece: a to z, then aa, ab."""
    return (_letters(index // 26 - 1) if index >= 26 else "") + chr(ord("a") + index % 26)
