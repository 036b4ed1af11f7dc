"""Where the Sun, the Moon and the planets are: JPL's DE421 read through Skyfield.

Both are MIT licensed, work offline and load on first use. Positions are apparent (light time,
aberration, deflection), geocentric, on the true ecliptic and equinox of date.
Instants are Julian dates in terrestrial time (TT), as floats or arrays, resolved to 0.1 ms;
`julian_date` and `utc_datetimes` are the only ways in and out. Skyfield has no type hints, so its
objects stay inside this file.

Sources: Folkner et al., "The Planetary and Lunar Ephemeris DE 421" (2009); Espenak and Meeus for
the difference between terrestrial and universal time before 1972.
"""

from __future__ import annotations

import warnings
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from holdfast.apps.reports.astro.errors import DateOutOfRangeError
from holdfast.apps.reports.astro.once import loaded_once
from holdfast.apps.reports.astro.zodiac import Body

FloatArray = NDArray[np.floating[Any]]
"""Degrees or Julian dates; always 64 bits wide in fact."""

FIRST_DAY: Final = date(1899, 7, 30)
LAST_DAY: Final = date(2053, 10, 6)
"""DE421 ends two days later; the margin leaves room for time zones and for speeds."""

_LEAP_SECONDS_SINCE: Final = datetime(1972, 1, 1, tzinfo=UTC)
_UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX_EPOCH_JULIAN: Final = 2440587.5
_SPEED_STEP_DAYS: Final = 0.02

_TARGETS: Final = {
    Body.SUN: "sun",
    Body.MOON: "moon",
    Body.MERCURY: "mercury",
    Body.VENUS: "venus",
    Body.MARS: "mars",
    Body.JUPITER: "jupiter barycenter",
    Body.SATURN: "saturn barycenter",
    Body.URANUS: "uranus barycenter",
    Body.NEPTUNE: "neptune barycenter",
    Body.PLUTO: "pluto barycenter",
}


@loaded_once
def _timescale() -> Any:
    from skyfield.api import load

    # The tables inside Skyfield: the packaged finals2000A file has an expiry date, and a chart
    # must not change with the day on which it is drawn.
    return load.timescale(builtin=True)


@loaded_once
def _kernel() -> Any:
    from skyfield.api import load_file

    with warnings.catch_warnings():
        # Warns about the expired finals2000A file, which is not used here.
        warnings.simplefilter("ignore", RuntimeWarning)
        import skyfield_data

        folder = skyfield_data.get_skyfield_data_path()
    return load_file(str(Path(folder) / "de421.bsp"))


@loaded_once
def _ecliptic() -> Any:
    from skyfield.framelib import ecliptic_frame

    return ecliptic_frame


def require_covered(day: date) -> None:
    """Check that the ephemeris knows the day.

    Raises:
        DateOutOfRangeError: The day is before `FIRST_DAY` or after `LAST_DAY`.
    """
    if not FIRST_DAY <= day <= LAST_DAY:
        message = f"date {day.isoformat()!r} is outside the ephemeris ({FIRST_DAY} to {LAST_DAY})"
        raise DateOutOfRangeError(message, hint="check the year that was typed")


def julian_date(moment: datetime) -> float:
    """Return the TT Julian date of an aware moment.

    Before 1972, when leap seconds began, civil time is taken as UT1; it differed by less than a
    second.
    """
    moment = moment.astimezone(UTC)
    if moment >= _LEAP_SECONDS_SINCE:
        return float(_timescale().from_datetime(moment).tt)
    days = (moment - _UNIX_EPOCH) / timedelta(days=1)
    return float(_timescale().ut1_jd(_UNIX_EPOCH_JULIAN + days).tt)


def utc_datetimes(instants: FloatArray) -> list[datetime]:
    """Return instants as UTC datetimes rounded to whole seconds; the reverse of `julian_date`."""
    if instants.size == 0:
        return []
    times = _timescale().tt_jd(instants)
    civil = list(times.utc_datetime())
    universal = np.atleast_1d(times.ut1) - _UNIX_EPOCH_JULIAN
    moments = [
        since if since >= _LEAP_SECONDS_SINCE else _UNIX_EPOCH + timedelta(days=float(days))
        for since, days in zip(civil, universal, strict=True)
    ]
    half = timedelta(milliseconds=500)
    return [(moment + half).replace(microsecond=0) for moment in moments]


def longitudes(instants: FloatArray) -> dict[Body, FloatArray]:
    """Return the ecliptic longitudes in degrees of Sun to Pluto, one array per body.

    The caller keeps the instants within the ephemeris; see `require_covered`.
    """
    times = _timescale().tt_jd(instants)
    kernel, frame = _kernel(), _ecliptic()
    earth = kernel["earth"].at(times)
    return {
        body: np.asarray(
            earth.observe(kernel[target]).apparent().frame_latlon(frame)[1].degrees,
            dtype=np.float64,
        )
        for body, target in _TARGETS.items()
    }


def lunar_node(instants: FloatArray) -> FloatArray:
    """Return the longitudes in degrees of the Moon's true ascending node.

    The node is where the plane of the Moon's momentary position and velocity cuts the ecliptic;
    it swings up to 1.8° around the mean node.
    """
    times = _timescale().tt_jd(instants)
    kernel = _kernel()
    moon = (kernel["moon"] - kernel["earth"]).at(times)
    position, velocity = moon.frame_xyz_and_velocity(_ecliptic())
    momentum = np.cross(position.au, velocity.au_per_d, axis=0)
    return np.asarray(
        np.degrees(np.arctan2(momentum[0], -momentum[1])) % 360.0,
        dtype=np.float64,
    )


def positions_and_speeds(instant: float) -> dict[Body, tuple[float, float]]:
    """Return longitude (degrees) and speed (degrees a day) of Sun to Pluto and the North Node."""
    instants = np.array([instant - _SPEED_STEP_DAYS, instant, instant + _SPEED_STEP_DAYS])
    tracks = {**longitudes(instants), Body.NORTH_NODE: lunar_node(instants)}
    return {
        body: (
            float(track[1]),
            float((track[2] - track[0] + 180.0) % 360.0 - 180.0) / (2 * _SPEED_STEP_DAYS),
        )
        for body, track in tracks.items()
    }


def sidereal_angle(instant: float) -> float:
    """Return the apparent sidereal time at Greenwich as an angle in degrees."""
    return float(_timescale().tt_jd(instant).gast) * 15.0


def true_obliquity(instant: float) -> float:
    """Return the tilt of the equator against the ecliptic of date in degrees, with nutation."""
    from skyfield.nutationlib import iau2000a_radians, mean_obliquity

    time = _timescale().tt_jd(instant)
    _, nutation = iau2000a_radians(time)
    return float(mean_obliquity(time.tdb)) / 3600.0 + float(np.degrees(nutation))
