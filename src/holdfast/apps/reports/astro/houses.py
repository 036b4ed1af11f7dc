"""Ascendant, midheaven and the twelve houses.

Placidus divides the time each degree of the ecliptic spends above the horizon (and below it) into
three equal parts. Source of the formulas: Meeus, "Astronomical Algorithms", chapters 13 and 15,
and the definition of the cusps by semi-arcs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from holdfast.apps.reports.astro.zodiac import SIGN_WIDTH, HouseSystem, difference, normalize

_ITERATIONS_MAX: Final = 100
_CONVERGED_DEGREES: Final = 1e-10


@dataclass(frozen=True, slots=True)
class Houses:
    """The division of the sky at one moment and place; longitudes in degrees."""

    system: HouseSystem
    """Placidus, or whole sign where Placidus does not exist."""
    cusps: tuple[float, ...]
    """Where houses 1 to 12 begin."""
    ascendant: float
    """The longitude that rises."""
    midheaven: float
    """The longitude that culminates."""

    def house_of(self, longitude: float) -> int:
        """Return the number, 1 to 12, of the house that holds a longitude."""
        for index, cusp in enumerate(self.cusps):
            width = normalize(self.cusps[(index + 1) % 12] - cusp)
            if normalize(longitude - cusp) < width:
                return index + 1
        return 12  # unreachable but for rounding exactly on the last cusp


def compute_houses(*, meridian: float, obliquity: float, latitude: float) -> Houses:
    """Divide the sky by Placidus, or by whole signs at and beyond the polar circles.

    There some degrees of the ecliptic never rise or set, so that Placidus has no answer.

    Args:
        meridian: Right ascension of the meridian (local sidereal time as an angle), degrees.
        obliquity: Tilt of the ecliptic, degrees.
        latitude: Geographic latitude, degrees, north positive.
    """
    midheaven = _on_ecliptic(meridian, obliquity)
    ascendant = _horizon_point(meridian, obliquity, latitude)
    if difference(ascendant, midheaven) < 0:
        # Beyond a polar circle the formula may give the other crossing of the horizon. East of
        # the meridian is what follows the midheaven by less than half a circle.
        ascendant = normalize(ascendant + 180.0)
    if abs(latitude) + obliquity >= 90.0:
        first = math.floor(ascendant / SIGN_WIDTH) * SIGN_WIDTH
        cusps = tuple(normalize(first + SIGN_WIDTH * index) for index in range(12))
        return Houses(HouseSystem.WHOLE_SIGN, cusps, ascendant, midheaven)

    # Half of the circle: houses 10, 11, 12, 1, 2, 3; the other six lie opposite.
    east = (
        midheaven,
        _placidus_cusp(meridian, obliquity, latitude, thirds=1, above=True),
        _placidus_cusp(meridian, obliquity, latitude, thirds=2, above=True),
        ascendant,
        _placidus_cusp(meridian, obliquity, latitude, thirds=2, above=False),
        _placidus_cusp(meridian, obliquity, latitude, thirds=1, above=False),
    )
    west = tuple(normalize(cusp + 180.0) for cusp in east)
    return Houses(HouseSystem.PLACIDUS, east[3:] + west + east[:3], ascendant, midheaven)


def _horizon_point(meridian: float, obliquity: float, latitude: float) -> float:
    """Return where the ecliptic crosses the horizon: in the east, short of the polar circles."""
    right_ascension, tilt = math.radians(meridian), math.radians(obliquity)
    # At a pole itself the tangent is infinite; a millionth of a degree beside it, it is not.
    breadth = math.radians(max(-89.999999, min(89.999999, latitude)))
    return normalize(
        math.degrees(
            math.atan2(
                math.cos(right_ascension),
                -math.sin(right_ascension) * math.cos(tilt) - math.tan(breadth) * math.sin(tilt),
            )
        )
    )


def _on_ecliptic(right_ascension: float, obliquity: float) -> float:
    """Return the longitude of the ecliptic point with a given right ascension."""
    angle = math.radians(right_ascension)
    tilt = math.radians(obliquity)
    return normalize(math.degrees(math.atan2(math.sin(angle), math.cos(angle) * math.cos(tilt))))


def _placidus_cusp(
    meridian: float, obliquity: float, latitude: float, *, thirds: int, above: bool
) -> float:
    """Find the ecliptic point that is a number of thirds of its own semi-arc from the meridian.

    Below the polar circles each round shrinks the error to two thirds or less, so the iteration
    always ends; its derivative is bounded by the fraction times tan(latitude)·tan(obliquity).
    """
    fraction = thirds / 3.0
    slope = math.tan(math.radians(obliquity)) * math.tan(math.radians(latitude))
    right_ascension = meridian + (90.0 * fraction if above else 180.0 - 90.0 * fraction)
    for _ in range(_ITERATIONS_MAX):
        ascensional = math.degrees(math.asin(slope * math.sin(math.radians(right_ascension))))
        improved = (
            meridian + fraction * (90.0 + ascensional)
            if above
            else meridian + 180.0 - fraction * (90.0 - ascensional)
        )
        change = abs(difference(improved, right_ascension))
        right_ascension = improved
        if change < _CONVERGED_DEGREES:
            break
    return _on_ecliptic(right_ascension, obliquity)
