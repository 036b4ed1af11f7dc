"""What goes into a chart and what comes out: frozen values that survive a trip through JSON."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from holdfast.apps.reports.astro.zodiac import AspectKind, Body, HouseSystem, Sign, sign_of

Longitude = Annotated[float, Field(ge=0, lt=360)]
"""Ecliptic longitude in degrees, tropical zodiac."""

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
PlaceQuery = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class AstroModel(BaseModel):
    """Base of all values here: immutable, strict about unknown fields, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Place(AstroModel):
    """A point on Earth with the clock people use there."""

    name: str
    """The place's usual English name, or the coordinates if those were typed."""
    region: str | None = None
    """State, province or nation within the country; None where we have no name for it."""
    country: str | None = None
    """English name of the country; None for bare coordinates."""
    latitude: float = Field(ge=-90, le=90)
    """Degrees, north positive (WGS 84)."""
    longitude: float = Field(ge=-180, le=180)
    """Degrees, east positive (WGS 84)."""
    timezone: str
    """IANA time zone, for example `Europe/Lisbon`."""

    @property
    def label(self) -> str:
        """Return 'Paris, Texas, United States' for headings and for the form's echo."""
        # City states repeat themselves: 'Berlin, Berlin, Germany'.
        return ", ".join(dict.fromkeys(filter(None, (self.name, self.region, self.country))))


class BirthData(AstroModel):
    """Who was born when and where, as the buyer typed it."""

    name: Name
    """The name to address and to count letters of; 1 to 200 characters, any script."""
    birth_date: date
    """Local civil date, Gregorian calendar (also for births under a Julian calendar)."""
    birth_time: time | None = None
    """Local wall-clock time without an offset; None if unknown."""
    place: Place | PlaceQuery
    """A resolved place, or a query such as 'Paris, Texas' that `resolve_place` understands."""


class Position(AstroModel):
    """Where one body stands."""

    body: Body
    """Sun to Pluto, or the North Node."""
    longitude_degrees: Longitude
    """Apparent geocentric ecliptic longitude, rounded to 0.0001°."""
    sign: Sign
    """The sign that holds the longitude."""
    degree_in_sign: float = Field(ge=0, lt=30)
    """Degrees since the start of the sign."""
    house: int | None = Field(ge=1, le=12)
    """Number of the house; None when the birth time is unknown."""
    retrograde: bool
    """Whether the longitude decreases at that moment."""
    speed_degrees_per_day: float
    """Change of longitude, negative when retrograde."""


class Aspect(AstroModel):
    """An angle between two bodies of the same chart."""

    first: Body
    """The faster body by convention: the one listed first in `Body`."""
    kind: AspectKind
    """The angle's name."""
    second: Body
    """The other body."""
    orb_degrees: float = Field(ge=0)
    """How far the angle is from exact."""


class NatalChart(AstroModel):
    """The sky at the moment and place of birth."""

    place: Place
    """Where; resolved."""
    born_utc: AwareDatetime
    """The moment in UTC; local noon when the birth time is unknown."""
    utc_offset_seconds: int
    """What the local clock was ahead of UTC that day, with the history of the time zone."""
    time_known: bool
    """False: `born_utc` is local noon, and houses, ascendant and midheaven are None."""
    positions: tuple[Position, ...]
    """Sun to Pluto, then the North Node."""
    house_system: HouseSystem | None
    """None when the birth time is unknown."""
    houses: tuple[Longitude, ...] | None = Field(min_length=12, max_length=12)
    """Longitudes where houses 1 to 12 begin."""
    ascendant: Longitude | None
    """Longitude rising in the east. With whole-sign houses it is not the first cusp."""
    midheaven: Longitude | None
    """Longitude culminating."""
    aspects: tuple[Aspect, ...]
    """Between Sun to Pluto, tightest first; without the Moon when the birth time is unknown."""
    notes: tuple[str, ...] = ()
    """Sentences the report must show: what was assumed about the time or the houses."""

    def position(self, body: Body) -> Position:
        """Return the position of a body.

        Raises:
            KeyError: The chart has no such position (ascendant and midheaven are fields).
        """
        for position in self.positions:
            if position.body is body:
                return position
        raise KeyError(body)

    @property
    def rising_sign(self) -> Sign | None:
        """Return the sign of the ascendant, or None when the birth time is unknown."""
        return None if self.ascendant is None else sign_of(self.ascendant)

    @property
    def born_local(self) -> datetime:
        """Return the birth moment on the local wall clock, without an offset."""
        return self.born_utc.replace(tzinfo=None) + timedelta(seconds=self.utc_offset_seconds)


class Numerology(AstroModel):
    """Pythagorean numbers: 1 to 9, or a master number 11, 22 or 33."""

    life_path: int
    """From the birth date; master numbers kept."""
    birthday: int
    """From the day of the month; 11 and 22 kept."""
    expression: int | None
    """From all letters of the name; None if a letter has no Latin form."""
    soul_urge: int | None
    """From the vowels; None as above, or if the name has none."""
    personality: int | None
    """From the consonants; None as above, or if the name has none."""
    personal_year: int = Field(ge=1, le=9)
    """1 to 9, master numbers reduced: the place of `year` in a cycle of nine."""
    year: int
    """The calendar year that `personal_year` is for."""
    notes: tuple[str, ...] = ()
    """Sentences the report must show, such as why name numbers are missing."""


class Colour(AstroModel):
    """A colour to name in the text and to print beside it."""

    name: str
    """English name, lower case."""
    hex: str = Field(pattern=r"^#[0-9a-f]{6}$")
    """sRGB as `#rrggbb`."""


class LuckyColours(AstroModel):
    """Three different colours for a period and where each comes from."""

    first_day: date
    """First day of the period."""
    last_day: date
    """Last day of the period, included."""
    primary: Colour
    """From the sign of the Sun and the number of the month."""
    secondary: Colour
    """From the sign of the Moon."""
    accent: Colour
    """From the personal month, 1 to 9."""
    personal_month: int = Field(ge=1, le=9)
    """Personal year plus calendar month of the first day, reduced."""
