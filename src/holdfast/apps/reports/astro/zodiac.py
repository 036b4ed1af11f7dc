"""The vocabulary of a chart and the arithmetic of the circle.

Angles are ecliptic longitudes in degrees, 0 (inclusive) to 360 (exclusive), on the true equinox
of the date (the tropical zodiac).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

FULL_CIRCLE: Final = 360.0
SIGN_WIDTH: Final = 30.0
LONGITUDE_DECIMALS: Final = 4
"""Longitudes are stored to 0.0001° (0.36″), finer than the ephemeris of the Moon."""


class Sign(StrEnum):
    """A twelfth of the ecliptic, in order from the March equinox."""

    ARIES = "Aries"
    TAURUS = "Taurus"
    GEMINI = "Gemini"
    CANCER = "Cancer"
    LEO = "Leo"
    VIRGO = "Virgo"
    LIBRA = "Libra"
    SCORPIO = "Scorpio"
    SAGITTARIUS = "Sagittarius"
    CAPRICORN = "Capricorn"
    AQUARIUS = "Aquarius"
    PISCES = "Pisces"


class Body(StrEnum):
    """A planet in the astrologer's sense, or a computed point of the chart."""

    SUN = "Sun"
    MOON = "Moon"
    MERCURY = "Mercury"
    VENUS = "Venus"
    MARS = "Mars"
    JUPITER = "Jupiter"
    SATURN = "Saturn"
    URANUS = "Uranus"
    NEPTUNE = "Neptune"
    PLUTO = "Pluto"
    NORTH_NODE = "North Node"
    """The true (osculating) ascending node of the Moon's orbit."""
    ASCENDANT = "Ascendant"
    """Where the ecliptic rises; only with a known birth time."""
    MIDHEAVEN = "Midheaven"
    """Where the ecliptic culminates; only with a known birth time."""


class AspectKind(StrEnum):
    """An angle between two bodies that astrology reads."""

    CONJUNCTION = "conjunction"
    SEXTILE = "sextile"
    SQUARE = "square"
    TRINE = "trine"
    OPPOSITION = "opposition"


class HouseSystem(StrEnum):
    """How the sky is divided into twelve houses."""

    PLACIDUS = "Placidus"
    WHOLE_SIGN = "whole sign"
    """Used where Placidus has no solution: at and above the polar circles."""


class MoonPhase(StrEnum):
    """A phase by name; the four principal ones belong to the day of the exact moment only."""

    NEW_MOON = "New Moon"
    WAXING_CRESCENT = "Waxing Crescent"
    FIRST_QUARTER = "First Quarter"
    WAXING_GIBBOUS = "Waxing Gibbous"
    FULL_MOON = "Full Moon"
    WANING_GIBBOUS = "Waning Gibbous"
    LAST_QUARTER = "Last Quarter"
    WANING_CRESCENT = "Waning Crescent"


SIGNS: Final = tuple(Sign)
PLANETS: Final = tuple(Body)[:10]
"""Sun to Pluto: the bodies that move, are aspected and transit."""

ASPECT_ANGLES: Final = {
    AspectKind.CONJUNCTION: 0.0,
    AspectKind.SEXTILE: 60.0,
    AspectKind.SQUARE: 90.0,
    AspectKind.TRINE: 120.0,
    AspectKind.OPPOSITION: 180.0,
}

PRINCIPAL_PHASES: Final = (
    MoonPhase.NEW_MOON,
    MoonPhase.FIRST_QUARTER,
    MoonPhase.FULL_MOON,
    MoonPhase.LAST_QUARTER,
)
INTERMEDIATE_PHASES: Final = (
    MoonPhase.WAXING_CRESCENT,
    MoonPhase.WAXING_GIBBOUS,
    MoonPhase.WANING_GIBBOUS,
    MoonPhase.WANING_CRESCENT,
)


def normalize(degrees: float) -> float:
    """Bring an angle into 0 (inclusive) to 360 (exclusive) degrees."""
    turned = degrees % FULL_CIRCLE
    # -1e-17 % 360 is 360.0 in floating point, which would be a thirteenth sign.
    return 0.0 if turned >= FULL_CIRCLE else turned


def round_longitude(degrees: float) -> float:
    """Round a longitude for storage so that 359.99999 becomes 0, not 360."""
    return normalize(round(normalize(degrees), LONGITUDE_DECIMALS))


def difference(first: float, second: float) -> float:
    """Return the shorter way from `second` to `first`, -180 to 180 degrees, positive eastward."""
    return (first - second + 180.0) % FULL_CIRCLE - 180.0


def sign_of(longitude: float) -> Sign:
    """Return the sign that holds a longitude; 30.0 is the first degree of Taurus."""
    return SIGNS[int(normalize(longitude) // SIGN_WIDTH)]
