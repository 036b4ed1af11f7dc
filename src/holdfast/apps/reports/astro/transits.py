"""A year of transits: every exact moment between the moving sky and one natal chart.

The longitudes of all bodies are sampled every six hours once; everything else is interpolation
and search in those samples, so a year takes well under a second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol, TypeVar

import numpy as np

from holdfast.apps.reports.astro import ephemeris
from holdfast.apps.reports.astro.ephemeris import FloatArray
from holdfast.apps.reports.astro.models import NatalChart
from holdfast.apps.reports.astro.sky import Sky, sample_sky
from holdfast.apps.reports.astro.transit_models import (
    DayTransits,
    Ingress,
    MoonDay,
    PhaseMoment,
    RetrogradePeriod,
    Station,
    TransitAspect,
    YearTransits,
)
from holdfast.apps.reports.astro.zodiac import (
    ASPECT_ANGLES,
    INTERMEDIATE_PHASES,
    PLANETS,
    PRINCIPAL_PHASES,
    SIGN_WIDTH,
    SIGNS,
    AspectKind,
    Body,
    sign_of,
)

DAYS_MAX: Final = 366
TRANSIT_ORBS: Final = {
    Body.SUN: 1.5,
    Body.MERCURY: 1.5,
    Body.VENUS: 1.5,
    Body.MARS: 1.5,
    Body.JUPITER: 1.0,
    Body.SATURN: 1.0,
    Body.URANUS: 1.0,
    Body.NEPTUNE: 1.0,
    Body.PLUTO: 1.0,
}
"""Degrees from exact, at noon UTC, within which an aspect is listed for a day.

The Moon crosses any such orb in hours: its aspects are listed on the day they are exact."""


class _Dated(Protocol):
    @property
    def at(self) -> datetime: ...


_Event = TypeVar("_Event", bound=_Dated)


@dataclass(frozen=True, slots=True)
class _Targets:
    """The longitudes at which a moving body makes an aspect to the chart."""

    points: list[tuple[Body, AspectKind]]
    """What each longitude means."""
    longitudes: FloatArray
    """Degrees."""


def year_transits(chart: NatalChart, start: date, *, days: int = 365) -> YearTransits:
    """Compute what the sky does to a chart from a start date on.

    Without a birth time the natal Moon, ascendant and midheaven are not aspected: they are not
    known well enough.

    Args:
        chart: The natal chart.
        start: First day, UTC.
        days: Number of days, 1 to `DAYS_MAX`.

    Raises:
        ValueError: `days` is out of bounds, a mistake of the caller.
        DateOutOfRangeError: A covered day, which includes whole months, is not in the ephemeris.
    """
    if not 1 <= days <= DAYS_MAX:
        message = f"days {days!r} is outside 1 to {DAYS_MAX}"
        raise ValueError(message)
    sky = sample_sky(*_covered_days(start, start + timedelta(days=days - 1)))
    phases, ingresses, stations = _phases(sky), _ingresses(sky), _stations(sky)
    moon = _moon_days(sky, phases)
    phase_on = {moment.at.date(): moment for moment in phases}
    ingresses_on, stations_on = _by_day(ingresses), _by_day(stations)
    retrograde = _retrograde_days(sky)
    aspects = _aspects(sky, _targets(chart))
    first = (start - sky.first).days
    return YearTransits(
        start=start,
        covered_from=sky.first,
        covered_to=sky.first + timedelta(days=sky.count - 1),
        days=tuple(
            DayTransits(
                date=moon[index].date,
                moon=moon[index],
                phase_moment=phase_on.get(moon[index].date),
                aspects=tuple(sorted(aspects[index], key=_prominence)),
                ingresses=ingresses_on[moon[index].date],
                stations=stations_on[moon[index].date],
                retrograde=retrograde[index],
            )
            for index in range(first, first + days)
        ),
        moon=tuple(moon),
        phases=tuple(phases),
        ingresses=tuple(entry for entry in ingresses if entry.body is not Body.MOON),
        stations=tuple(stations),
        retrogrades=_retrograde_periods(sky, stations),
    )


def _covered_days(start: date, end: date) -> tuple[date, int]:
    """Widen the report's days to whole ISO weeks and calendar months."""
    next_month = (end.replace(day=1) + timedelta(days=31)).replace(day=1)
    first = min(start.replace(day=1), start - timedelta(days=start.weekday()))
    last = max(next_month - timedelta(days=1), end + timedelta(days=6 - end.weekday()))
    ephemeris.require_covered(first - timedelta(days=2))
    ephemeris.require_covered(last + timedelta(days=2))
    return first, (last - first).days + 1


def _by_day(events: Iterable[_Event]) -> dict[date, tuple[_Event, ...]]:
    days: dict[date, tuple[_Event, ...]] = defaultdict(tuple)
    for event in events:
        days[event.at.date()] += (event,)
    return days


def _phases(sky: Sky) -> list[PhaseMoment]:
    found = sky.elongation.crossings(np.array([0.0, 90.0, 180.0, 270.0]))
    moons = sky.motions[Body.MOON].at(found.instants)
    moments = ephemeris.utc_datetimes(found.instants)
    return [
        PhaseMoment(phase=PRINCIPAL_PHASES[quarter], at=moment, sign=sign_of(float(moon)))
        for moment, quarter, moon in zip(moments, found.targets, moons, strict=True)
        if sky.covers(moment)
    ]


def _moon_days(sky: Sky, phases: list[PhaseMoment]) -> list[MoonDay]:
    exact = {moment.at.date(): moment.phase for moment in phases}
    moons, ages = sky.at_noon(sky.motions[Body.MOON]), sky.at_noon(sky.elongation) % 360.0
    entries = []
    for index, (moon, age) in enumerate(zip(moons, ages, strict=True)):
        day = sky.first + timedelta(days=index)
        entries.append(
            MoonDay(
                date=day,
                sign=sign_of(float(moon)),
                phase=exact.get(day, INTERMEDIATE_PHASES[int(age // 90.0)]),
                illumination_percent=round(50.0 * (1.0 - np.cos(np.radians(age)))),
                age_fraction=int(age / 360.0 * 10_000) / 10_000,
            )
        )
    return entries


def _ingresses(sky: Sky) -> list[Ingress]:
    borders = SIGN_WIDTH * np.arange(12)
    entries = [
        # Going backward over the start of a sign leads into the one before.
        Ingress(body=body, sign=SIGNS[border - backward], at=moment, retrograde=backward)
        for body in PLANETS
        for moment, border, backward in sky.moments(sky.motions[body], borders)
    ]
    return sorted(entries, key=lambda entry: entry.at)


def _stations(sky: Sky) -> list[Station]:
    entries = []
    for body in PLANETS:
        motion = sky.motions[body]
        found = motion.stations
        moments = ephemeris.utc_datetimes(found.instants)
        signs = [sign_of(float(longitude)) for longitude in motion.at(found.instants)]
        entries += [
            Station(body=body, direction="retrograde" if backward else "direct", at=moment, sign=sign)
            for moment, backward, sign in zip(moments, found.backward, signs, strict=True)
            if sky.covers(moment)
        ]
    return sorted(entries, key=lambda entry: entry.at)


def _retrograde_days(sky: Sky) -> list[tuple[Body, ...]]:
    backward = {body: sky.change_at_noon(sky.motions[body]) < 0 for body in PLANETS}
    return [tuple(body for body in PLANETS if backward[body][index]) for index in range(sky.count)]


def _retrograde_periods(sky: Sky, stations: list[Station]) -> tuple[RetrogradePeriod, ...]:
    periods = []
    for body in PLANETS:
        began: datetime | None = None
        open_period = bool(sky.change_at_noon(sky.motions[body])[0] < 0)
        for station in stations:
            if station.body is not body:
                continue
            if station.direction == "retrograde":
                began, open_period = station.at, True
            else:
                periods.append(RetrogradePeriod(body=body, began_at=began, ended_at=station.at))
                began, open_period = None, False
        if open_period:
            periods.append(RetrogradePeriod(body=body, began_at=began, ended_at=None))
    return tuple(periods)


def _targets(chart: NatalChart) -> _Targets:
    natal = {position.body: position.longitude_degrees for position in chart.positions}
    if chart.ascendant is None or chart.midheaven is None:
        del natal[Body.MOON]
    else:
        natal |= {Body.ASCENDANT: chart.ascendant, Body.MIDHEAVEN: chart.midheaven}
    points, longitudes = [], []
    for body, longitude in natal.items():
        for kind, angle in ASPECT_ANGLES.items():
            # A conjunction or an opposition is one target, the others one to each side.
            for side in sorted({angle, -angle % 360.0}):
                points.append((body, kind))
                longitudes.append((longitude + side) % 360.0)
    return _Targets(points, np.array(longitudes))


def _aspects(sky: Sky, targets: _Targets) -> list[list[TransitAspect]]:
    """Return the aspects of each covered day, in no order."""
    days: list[list[TransitAspect]] = [[] for _ in range(sky.count)]
    for body in PLANETS:
        motion = sky.motions[body]
        exact = {
            ((moment.date() - sky.first).days, target): moment
            for moment, target, _ in sky.moments(motion, targets.longitudes)
        }
        offsets = (sky.at_noon(motion)[:, None] - targets.longitudes + 180.0) % 360.0 - 180.0
        applying = offsets * sky.change_at_noon(motion)[:, None] < 0
        for day, target in _listed(offsets, TRANSIT_ORBS.get(body)) | exact.keys():
            natal, kind = targets.points[target]
            days[day].append(
                TransitAspect(
                    transiting=body,
                    kind=kind,
                    natal=natal,
                    orb_degrees=round(abs(float(offsets[day, target])), 2),
                    applying=bool(applying[day, target]),
                    exact_at=exact.get((day, target)),
                )
            )
    return days


def _listed(offsets: FloatArray, orb: float | None) -> set[tuple[int, int]]:
    """Return the pairs of day and target that lie within the orb at noon."""
    if orb is None:
        return set()
    days, targets = np.nonzero(np.abs(offsets) <= orb)
    return set(zip(days.tolist(), targets.tolist(), strict=True))


def _prominence(aspect: TransitAspect) -> tuple[bool, float, str, str]:
    """Order a day: Sun and planets by tightness, then the Moon's aspects by time."""
    if aspect.transiting is Body.MOON and aspect.exact_at is not None:
        return True, aspect.exact_at.timestamp(), aspect.natal, aspect.kind
    return False, aspect.orb_degrees, f"{aspect.transiting} {aspect.natal}", aspect.kind
