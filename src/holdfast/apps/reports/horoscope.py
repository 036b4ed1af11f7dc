"""The personal horoscope: a year of days, weeks and months as one document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import groupby
from typing import Final

from holdfast.apps.reports import front
from holdfast.apps.reports.astro import Precomputed
from holdfast.apps.reports.manifest import Batch, Period, horoscope_manifest
from holdfast.apps.reports.models import ReportRequest
from holdfast.apps.reports.openers import day_opener, month_opener, week_opener, year_opener
from holdfast.apps.reports.product import PrintedProduct
from holdfast.apps.reports.questions import Question
from holdfast.apps.reports.render import document as page
from holdfast.apps.reports.wording import (
    WEEKDAY_NAMES,
    clock,
    day_month,
    long_date,
    month_year,
    period_title,
    span,
)
from holdfast.apps.reports.writing import Written

_TRANSITS_SHOWN: Final = 8
_CLOSING: Final = (
    "Thank you for spending this year with these pages.\n"
    "Keep what helped you, cross out what did not, and let the sky do the rest. "
    "The Moon comes round again in a month, the Sun in a year; you will be the one who has moved on."
)


def compose_horoscope(
    request: ReportRequest, facts: Precomputed, manifest: Sequence[Batch], written: Written
) -> page.ReportDocument:
    """Join facts and answers: the year first, then each month with its weeks and days."""
    periods = [period for batch in manifest for period in batch.periods]
    composer = _Composer(facts, written, {each.id for each in periods if each.kind == "daily"})
    first, last = request.start, max(period.last_day for period in periods if period.kind == "daily")
    return page.ReportDocument(
        title=HOROSCOPE.title,
        subtitle="A personal horoscope for every day, week and month",
        person=request.birth.name,
        edition=span(first, last),
        sample_notice=front.SAMPLE_NOTICE if written.sample else None,
        author=front.AUTHOR,
        issued=request.start,
        imprint=front.imprint(facts),
        natal=front.natal_page(facts),
        numerology=front.numerology_page(facts),
        parts=(*composer.years(periods), *composer.months(periods, request.start)),
        closing=page.Closing(title="Until we meet again", text=_CLOSING),
    )


class _Composer:
    """Turns periods into chapters."""

    def __init__(self, facts: Precomputed, written: Written, days: set[str]) -> None:
        self._facts = facts
        self._written = written
        self._days = days
        """Days that have a chapter to link to."""

    def years(self, periods: Iterable[Period]) -> list[page.Part]:
        found = [period for period in periods if period.kind == "yearly"]
        return [
            page.Part(id=f"year-{each.id}", title="The year as a whole", lead=self._year(each))
            for each in found
        ]

    def months(self, periods: Iterable[Period], start: date) -> list[page.Part]:
        """Return a part for every month; the last may be days only, without a chapter of its own."""
        openers = {each.id: each for each in periods if each.kind == "monthly"}
        # The first week begins before the report does; a week goes before its first day.
        inner = sorted(
            (each for each in periods if each.kind in {"weekly", "daily"}),
            key=lambda each: (max(each.first_day, start), each.kind == "daily"),
        )
        parts = []
        for month, group in groupby(inner, key=lambda each: f"{max(each.first_day, start):%Y-%m}"):
            chapters = tuple(self._chapter(each) for each in group)
            opener = openers.get(month)
            title = month_year(date.fromisoformat(f"{month}-01"))
            lead = None if opener is None else self._month(opener)
            intro = (
                "" if lead else f"The report ends here: the last days, up to {long_date(self._end())}."
            )
            parts.append(
                page.Part(id=f"part-{month}", title=title, intro=intro, lead=lead, chapters=chapters)
            )
        return parts

    def _end(self) -> date:
        return date.fromisoformat(max(self._days))

    def _chapter(self, period: Period) -> page.Chapter:
        return self._day(period) if period.kind == "daily" else self._week(period)

    def _day(self, period: Period) -> page.Chapter:
        day = self._facts.transits.day(period.first_day)
        exact = day.phase_moment
        return page.Chapter(
            id=f"daily-{period.id}",
            kind="daily",
            title=period_title(period),
            eyebrow=f"{exact.phase} · {clock(exact.at)}" if exact else "",
            running=period_title(period),
            date=period.first_day,
            intro=day_opener(day),
            moon=front.moon(day.moon),
            transits=tuple(front.transit(each) for each in day.aspects[:_TRANSITS_SHOWN]),
            sections=self._sections(period),
        )

    def _week(self, period: Period) -> page.Chapter:
        sky = self._facts.transits.period(period.first_day, period.last_day)
        week = period.first_day.isocalendar().week
        return page.Chapter(
            id=f"weekly-{period.id}",
            kind="weekly",
            eyebrow=f"The week ahead · week {week}",
            title=period_title(period),
            date=period.first_day,
            intro=week_opener(sky),
            days=self._strip(period),
            sections=self._sections(period),
        )

    def _month(self, period: Period) -> page.Chapter:
        sky = self._facts.transits.period(period.first_day, period.last_day)
        colours = [
            front.colour_line(each)
            for each in self._facts.colours
            if f"{each.first_day:%Y-%m}" == period.id
        ]
        return page.Chapter(
            id=f"monthly-{period.id}",
            kind="monthly",
            eyebrow="The month ahead",
            title=period_title(period),
            date=period.first_day,
            intro="\n".join(filter(None, [month_opener(sky), *colours])),
            moon=front.moon(sky.moon[0]),
            days=self._strip(period),
            phases=tuple(
                page.PhaseMoment(
                    name=each.phase,
                    age=_PHASE_AGES[each.phase],
                    when=f"{day_month(each.at.date())} · {clock(each.at)}",
                )
                for each in sky.phases
            ),
            sections=self._sections(period),
        )

    def _year(self, period: Period) -> page.Chapter:
        sky = self._facts.transits.period(period.first_day, period.last_day)
        return page.Chapter(
            id=f"yearly-{period.id}",
            kind="yearly",
            eyebrow=span(period.first_day, period.last_day),
            title="The year as a whole",
            date=period.first_day,
            intro=year_opener(self._facts, sky),
            sections=self._sections(period),
        )

    def _strip(self, period: Period) -> tuple[page.MoonDay, ...]:
        sky = self._facts.transits.period(period.first_day, period.last_day)
        return tuple(
            page.MoonDay(
                date=each.date,
                weekday=WEEKDAY_NAMES[each.date.weekday()][:3],
                moon=front.moon(each),
                target=f"daily-{each.date}" if each.date.isoformat() in self._days else None,
            )
            for each in sky.moon
        )

    def _sections(self, period: Period) -> tuple[page.Section, ...]:
        return tuple(
            page.Section(title=group, answers=tuple(self._answer(period, each) for each in asked))
            for group, asked in groupby(period.questions, key=lambda question: question.group)
        )

    def _answer(self, period: Period, question: Question) -> page.Answer:
        return page.Answer(question=question.text, answer=self._written.text(period, question.number))


_PHASE_AGES: Final = {"New Moon": 0.0, "First Quarter": 0.25, "Full Moon": 0.5, "Last Quarter": 0.75}

HOROSCOPE: Final = PrintedProduct(
    kind="personal_horoscope",
    title="The Year Ahead",
    file_name="the-year-ahead.pdf",
    manifest=horoscope_manifest,
    compose=compose_horoscope,
    batch_size="days_per_batch",
)
