from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.apps.reports.astro import ephemeris
from holdfast.apps.reports.astro.errors import DateOutOfRangeError
from holdfast.apps.reports.astro.zodiac import PLANETS, Body, difference

MOMENTS = st.datetimes(datetime(1899, 8, 1), datetime(2053, 10, 1), timezones=st.just(UTC))  # noqa: DTZ001


def longitude(body: Body, moment: datetime) -> float:
    return ephemeris.positions_and_speeds(ephemeris.julian_date(moment))[body][0]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2000, 3, 20, 7, 35, tzinfo=UTC), 0.0),
        (datetime(2024, 3, 20, 3, 6, tzinfo=UTC), 0.0),
        (datetime(2024, 6, 20, 20, 51, tzinfo=UTC), 90.0),
        (datetime(2024, 9, 22, 12, 44, tzinfo=UTC), 180.0),
        (datetime(2025, 12, 21, 15, 3, tzinfo=UTC), 270.0),
    ],
)
def test_sun_stands_at_quarter_of_ecliptic_at_published_equinoxes_and_solstices(moment, expected):
    """Almanacs round to the minute; in half a minute the Sun moves 0.0004°."""
    assert difference(longitude(Body.SUN, moment), expected) == pytest.approx(0.0, abs=0.0006)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (Body.SUN, 280.3689),
        (Body.MERCURY, 271.8893),
        (Body.VENUS, 241.5658),
        (Body.MARS, 327.9633),
        (Body.JUPITER, 25.2530),
        (Body.SATURN, 40.3956),
        (Body.URANUS, 314.8092),
        (Body.NEPTUNE, 303.1930),
        (Body.PLUTO, 251.4547),
    ],
)
def test_planets_stand_where_almanacs_put_them_at_noon_of_2000(body, expected):
    moment = datetime(2000, 1, 1, 12, tzinfo=UTC)

    assert longitude(body, moment) == pytest.approx(expected, abs=0.001)


def test_eclipses_bring_moon_and_sun_together():
    """New moon was at 11:08 UTC on 11 August 1999 and at 18:21 UTC on 8 April 2024."""
    for moment in (datetime(1999, 8, 11, 11, 8, tzinfo=UTC), datetime(2024, 4, 8, 18, 21, tzinfo=UTC)):
        apart = difference(longitude(Body.MOON, moment), longitude(Body.SUN, moment))

        assert apart == pytest.approx(0.0, abs=0.006)


@given(MOMENTS)
@settings(max_examples=15, deadline=None)
def test_true_node_stays_near_mean_node(moment):
    centuries = (ephemeris.julian_date(moment) - 2451545.0) / 36525.0
    mean = 125.0445 - 1934.1363 * centuries

    assert abs(difference(longitude(Body.NORTH_NODE, moment), mean)) < 1.9


@given(MOMENTS)
@settings(max_examples=25, deadline=None)
def test_utc_survives_way_to_terrestrial_time_and_back(moment):
    instant = ephemeris.julian_date(moment)

    (back,) = ephemeris.utc_datetimes(np.array([instant]))

    assert abs(back - moment) <= timedelta(milliseconds=501)


@given(MOMENTS)
@settings(max_examples=15, deadline=None)
def test_speeds_match_motion_over_next_hour(moment):
    now = ephemeris.positions_and_speeds(ephemeris.julian_date(moment))
    later = ephemeris.positions_and_speeds(ephemeris.julian_date(moment + timedelta(hours=1)))

    for body in PLANETS:
        moved = difference(later[body][0], now[body][0]) * 24
        assert moved == pytest.approx((now[body][1] + later[body][1]) / 2, abs=0.005)


def test_obliquity_and_sidereal_time_match_meeus_example():
    """Meeus, example 22.a and 12.a: 10 April 1987, 0h."""
    instant = ephemeris.julian_date(datetime(1987, 4, 10, tzinfo=UTC))

    assert ephemeris.true_obliquity(instant) == pytest.approx(23.443569, abs=1e-4)
    assert ephemeris.sidereal_angle(instant) / 15 == pytest.approx(
        13 + 10 / 60 + 46.1351 / 3600, abs=1e-4
    )


@pytest.mark.parametrize("day", [date(1899, 7, 29), date(2053, 10, 7), date(1815, 12, 10)])
def test_days_outside_ephemeris_are_refused_with_its_bounds(day):
    with pytest.raises(DateOutOfRangeError, match=r"1899-07-30 to 2053-10-06") as caught:
        ephemeris.require_covered(day)

    assert caught.value.code == "date_out_of_range"
    assert caught.value.hint == "check the year that was typed"


@pytest.mark.parametrize("day", [ephemeris.FIRST_DAY, ephemeris.LAST_DAY])
def test_first_and_last_day_have_positions(day):
    ephemeris.require_covered(day)

    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert 0 <= longitude(Body.MOON, moment - timedelta(hours=14)) < 360
    assert 0 <= longitude(Body.MOON, moment + timedelta(hours=36)) < 360
