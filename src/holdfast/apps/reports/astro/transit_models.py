"""What the sky does during a report's year. All days and times are UTC."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

from pydantic import AwareDatetime, Field

from holdfast.apps.reports.astro.models import AstroModel
from holdfast.apps.reports.astro.zodiac import AspectKind, Body, MoonPhase, Sign


class MoonDay(AstroModel):
    """The Moon on one day, at noon UTC."""

    date: date
    """The day, UTC."""
    sign: Sign
    """Sign at noon UTC; a change during the day is an ingress of the Moon."""
    phase: MoonPhase
    """A principal phase only on the day of its exact moment, else the stretch between two."""
    illumination_percent: int = Field(ge=0, le=100)
    """Lit part of the disc at noon UTC."""
    age_fraction: float = Field(ge=0, lt=1)
    """Part of the lunation that has passed at noon UTC: 0 new, 0.5 full."""


class PhaseMoment(AstroModel):
    """The exact moment of new moon, first quarter, full moon or last quarter."""

    phase: MoonPhase
    """One of the four principal phases."""
    at: AwareDatetime
    """UTC, whole seconds."""
    sign: Sign
    """Sign of the Moon at that moment."""


class TransitAspect(AstroModel):
    """A moving body at an angle to a point of the natal chart."""

    transiting: Body
    """The moving body, Sun to Pluto."""
    kind: AspectKind
    """The angle's name."""
    natal: Body
    """The point of the natal chart: a body, the North Node, the ascendant or the midheaven."""
    orb_degrees: float = Field(ge=0)
    """Distance from exact at noon UTC of the day."""
    applying: bool
    """Whether the distance shrinks at noon UTC."""
    exact_at: AwareDatetime | None
    """UTC, if the aspect is exact on this very day."""


class Ingress(AstroModel):
    """A body enters a sign."""

    body: Body
    """Sun to Pluto."""
    sign: Sign
    """The sign entered; when retrograde, the one before."""
    at: AwareDatetime
    """UTC, whole seconds."""
    retrograde: bool
    """True if the body goes back into the sign it came from."""


class Station(AstroModel):
    """A planet stands still and turns."""

    body: Body
    """Mercury to Pluto."""
    direction: Literal["retrograde", "direct"]
    """The way it moves afterwards."""
    at: AwareDatetime
    """UTC. Longitude hardly changes for hours, so almanacs may differ by minutes."""
    sign: Sign
    """Sign in which the planet stands."""


class RetrogradePeriod(AstroModel):
    """A stretch of backward motion that touches the covered time."""

    body: Body
    """Mercury to Pluto."""
    began_at: AwareDatetime | None
    """Station retrograde, UTC; None if it lies before the covered time."""
    ended_at: AwareDatetime | None
    """Station direct, UTC; None if it lies after the covered time."""


class DayTransits(AstroModel):
    """Everything a text about one day may mention."""

    date: date
    """The day, UTC."""
    moon: MoonDay
    """Sign, phase and light of the Moon."""
    phase_moment: PhaseMoment | None
    """The exact phase of this day, if any."""
    aspects: tuple[TransitAspect, ...]
    """Slower bodies first by tightness, then the Moon's aspects of the day by time."""
    ingresses: tuple[Ingress, ...]
    """Sign changes of this day, the Moon's included."""
    stations: tuple[Station, ...]
    """Turns of this day."""
    retrograde: tuple[Body, ...]
    """Planets moving backward at noon UTC."""


class PeriodSky(AstroModel):
    """The events of a week, a month or any run of days, without those of the Moon's motion."""

    first_day: date
    """First day, UTC."""
    last_day: date
    """Last day, included."""
    moon: tuple[MoonDay, ...]
    """One entry a day, for a small calendar."""
    phases: tuple[PhaseMoment, ...]
    """Exact lunar phases."""
    ingresses: tuple[Ingress, ...]
    """Sign changes of Sun and planets."""
    stations: tuple[Station, ...]
    """Turns of planets."""
    retrograde: tuple[Body, ...]
    """Planets that move backward at any time in the period."""
    exact_aspects: tuple[TransitAspect, ...]
    """Aspects of Sun and planets to the chart that become exact, by time; report days only."""


class YearTransits(AstroModel):
    """The sky from a start date on, day by day, for one natal chart.

    Besides the report's own days the lists of events cover the whole weeks and calendar months
    that the first and the last day touch, so that a month's page is complete.
    """

    start: date
    """First day of the report."""
    days: tuple[DayTransits, ...]
    """One entry per report day, in order."""
    covered_from: date
    """First day that `moon` and the events cover."""
    covered_to: date
    """Last day that `moon` and the events cover."""
    moon: tuple[MoonDay, ...]
    """One entry per covered day."""
    phases: tuple[PhaseMoment, ...]
    """Exact lunar phases, by time."""
    ingresses: tuple[Ingress, ...]
    """Sign changes of Sun and planets, by time; the Moon's are in the days."""
    stations: tuple[Station, ...]
    """Turns of planets, by time."""
    retrogrades: tuple[RetrogradePeriod, ...]
    """Stretches of backward motion, by planet."""

    def day(self, day: date) -> DayTransits:
        """Return one day of the report.

        Raises:
            KeyError: The report has no such day.
        """
        index = (day - self.start).days
        if not 0 <= index < len(self.days):
            raise KeyError(day)
        return self.days[index]

    def period(self, first_day: date, last_day: date) -> PeriodSky:
        """Collect the events of a run of days; days beyond the covered ones add nothing."""

        def within(day: date) -> bool:
            return first_day <= day <= last_day

        return PeriodSky(
            first_day=first_day,
            last_day=last_day,
            moon=tuple(moon for moon in self.moon if within(moon.date)),
            phases=tuple(moment for moment in self.phases if within(moment.at.date())),
            ingresses=tuple(ingress for ingress in self.ingresses if within(ingress.at.date())),
            stations=tuple(station for station in self.stations if within(station.at.date())),
            retrograde=tuple(
                dict.fromkeys(
                    stretch.body
                    for stretch in self.retrogrades
                    if (stretch.began_at is None or stretch.began_at.date() <= last_day)
                    and (stretch.ended_at is None or stretch.ended_at.date() >= first_day)
                )
            ),
            exact_aspects=self._exact_aspects(first_day, last_day),
        )

    def month(self, year: int, month: int) -> PeriodSky:
        """Collect the events of a calendar month."""
        first_day = date(year, month, 1)
        next_month = (first_day + timedelta(days=31)).replace(day=1)
        return self.period(first_day, next_month - timedelta(days=1))

    def week(self, year: int, week: int) -> PeriodSky:
        """Collect the events of an ISO week, Monday to Sunday."""
        monday = date.fromisocalendar(year, week, 1)
        return self.period(monday, monday + timedelta(days=6))

    def _exact_aspects(self, first_day: date, last_day: date) -> tuple[TransitAspect, ...]:
        exact = (
            (aspect.exact_at, aspect)
            for day in self.days
            if first_day <= day.date <= last_day
            for aspect in day.aspects
            if aspect.exact_at is not None and aspect.transiting is not Body.MOON
        )
        return tuple(aspect for _, aspect in sorted(exact, key=lambda pair: pair[0]))
