"""The natal chart: from a local birth time to the positions of the sky."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import combinations
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from holdfast.apps.reports.astro import ephemeris
from holdfast.apps.reports.astro.errors import InvalidBirthError
from holdfast.apps.reports.astro.houses import Houses, compute_houses
from holdfast.apps.reports.astro.models import Aspect, BirthData, NatalChart, Place, Position
from holdfast.apps.reports.astro.places import resolve_place
from holdfast.apps.reports.astro.zodiac import (
    ASPECT_ANGLES,
    PLANETS,
    SIGN_WIDTH,
    AspectKind,
    Body,
    HouseSystem,
    difference,
    round_longitude,
    sign_of,
)

NATAL_ORBS: Final = {
    AspectKind.CONJUNCTION: 8.0,
    AspectKind.SEXTILE: 5.0,
    AspectKind.SQUARE: 7.0,
    AspectKind.TRINE: 7.0,
    AspectKind.OPPOSITION: 8.0,
}
"""How far from exact, in degrees, an aspect of the natal chart still counts."""

_NOON: Final = time(12)


class _Moment(NamedTuple):
    """The birth moment and what had to be assumed to find it."""

    utc: datetime
    offset: timedelta
    notes: tuple[str, ...]


def natal_chart(birth: BirthData, *, not_after: date | None = None) -> NatalChart:
    """Compute the chart of a birth.

    The same input gives the same chart, whatever the day it is computed on.

    Args:
        birth: The birth; a place given as text is resolved offline.
        not_after: The latest possible birth date, usually today; None skips the check.

    Raises:
        PlaceNotFoundError: The place is unknown; the error has suggestions.
        AmbiguousPlaceError: Several places have that name; the error has suggestions.
        InvalidBirthError: The local time fell into a clock change, carries an offset of its
            own, or the birth is after `not_after`.
        DateOutOfRangeError: The ephemeris does not cover the date.
    """
    if not_after is not None and birth.birth_date > not_after:
        message = f"birth date {birth.birth_date.isoformat()!r} is after {not_after.isoformat()!r}"
        raise InvalidBirthError(message, hint="check the year that was typed")
    ephemeris.require_covered(birth.birth_date)
    place = resolve_place(birth.place) if isinstance(birth.place, str) else birth.place
    moment = _birth_moment(birth, place)
    instant = ephemeris.julian_date(moment.utc)
    houses = _houses(instant, place) if birth.birth_time is not None else None
    positions = _positions(instant, houses)
    notes = moment.notes + _house_notes(houses)
    if houses is None:
        notes += _unknown_time_notes(birth.birth_date, place)
    return NatalChart(
        place=place,
        born_utc=moment.utc,
        utc_offset_seconds=round(moment.offset.total_seconds()),
        time_known=houses is not None,
        positions=positions,
        house_system=houses and houses.system,
        houses=houses and tuple(round_longitude(cusp) for cusp in houses.cusps),
        ascendant=None if houses is None else round_longitude(houses.ascendant),
        midheaven=None if houses is None else round_longitude(houses.midheaven),
        aspects=_aspects(positions, moon_known=houses is not None),
        notes=notes,
    )


def _birth_moment(birth: BirthData, place: Place) -> _Moment:
    """Read the wall clock with the time zone's history.

    The operating system's zone files come first and the `tzdata` package second: many systems
    keep local times before 1970 that the package has merged away (Amsterdam in 1935).
    """
    clock = birth.birth_time or _NOON
    if clock.tzinfo is not None:
        message = f"birth time {clock.isoformat()!r} carries an offset"
        raise InvalidBirthError(message, hint="give the local wall-clock time alone")
    try:
        zone = ZoneInfo(place.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        message = f"time zone {place.timezone!r} of {place.label!r} is unknown"
        raise InvalidBirthError(message, hint="use an IANA name such as 'Europe/Lisbon'") from error
    local = datetime.combine(birth.birth_date, clock.replace(fold=0), tzinfo=zone)
    utc = local.astimezone(UTC)
    if utc.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
        message = (
            f"birth time '{local:%Y-%m-%d %H:%M}' did not exist in {place.label!r}: "
            f"the clocks of {place.timezone!r} were set forward over it"
        )
        raise InvalidBirthError(message, hint="check the time, or leave it out")
    offset, later = local.utcoffset(), local.replace(fold=1).utcoffset()
    if offset is None:  # a ZoneInfo always has an offset; this is for the type checker
        offset = timedelta(0)
    notes: tuple[str, ...] = ()
    if birth.birth_time is not None and later != offset:
        note = (
            f"The clocks were set back that day, so {local:%H:%M} came twice; this chart uses the first."
        )
        notes = (note,)
    return _Moment(utc, offset, notes)


def _house_notes(houses: Houses | None) -> tuple[str, ...]:
    if houses is None or houses.system is HouseSystem.PLACIDUS:
        return ()
    return ("Placidus houses do not exist this close to a pole; this chart uses whole signs.",)


def _unknown_time_notes(birth_date: date, place: Place) -> tuple[str, ...]:
    """Say what noon stands for, and whether the Moon's sign is certain."""
    note = (
        "The birth time is unknown: positions are for local noon, and the chart has no houses, "
        "no ascendant and no aspects of the Moon."
    )
    zone = ZoneInfo(place.timezone)
    midnights = [
        datetime.combine(birth_date + timedelta(days=days), time(0), tzinfo=zone) for days in (0, 1)
    ]
    moons = [
        ephemeris.positions_and_speeds(ephemeris.julian_date(midnight))[Body.MOON][0]
        for midnight in midnights
    ]
    first, last = (sign_of(moon) for moon in moons)
    if first is last:
        return (note,)
    return note, f"The Moon moved from {first} to {last} that day, so its sign is uncertain."


def _houses(instant: float, place: Place) -> Houses:
    return compute_houses(
        meridian=ephemeris.sidereal_angle(instant) + place.longitude,
        obliquity=ephemeris.true_obliquity(instant),
        latitude=place.latitude,
    )


def _positions(instant: float, houses: Houses | None) -> tuple[Position, ...]:
    def position(body: Body, longitude: float, speed: float) -> Position:
        stored = round_longitude(longitude)
        return Position(
            body=body,
            longitude_degrees=stored,
            sign=sign_of(stored),
            degree_in_sign=round(stored % SIGN_WIDTH, 4),
            house=None if houses is None else houses.house_of(longitude),
            retrograde=speed < 0,
            speed_degrees_per_day=round(speed, 4),
        )

    moving = ephemeris.positions_and_speeds(instant)
    return tuple(position(body, *motion) for body, motion in moving.items())


def _aspects(positions: tuple[Position, ...], *, moon_known: bool) -> tuple[Aspect, ...]:
    """Find the aspects between the planets, tightest first."""
    planets = [
        position
        for position in positions
        if position.body in PLANETS and (moon_known or position.body is not Body.MOON)
    ]
    found = []
    for first, second in combinations(planets, 2):
        separation = abs(difference(first.longitude_degrees, second.longitude_degrees))
        for kind, angle in ASPECT_ANGLES.items():
            orb = abs(separation - angle)
            if orb <= NATAL_ORBS[kind]:
                found.append(
                    Aspect(first=first.body, kind=kind, second=second.body, orb_degrees=round(orb, 2))
                )
    return tuple(sorted(found, key=lambda aspect: aspect.orb_degrees))
