import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.reports.astro.houses import compute_houses
from holdfast.apps.reports.astro.zodiac import HouseSystem, difference, normalize

OBLIQUITY = 23.4393
MERIDIANS = st.floats(0, 360, exclude_max=True)
PLACIDUS_LATITUDES = st.floats(-66.5, 66.5)


def equatorial(longitude):
    """Right ascension and declination in degrees of a point of the ecliptic."""
    angle, tilt = math.radians(longitude), math.radians(OBLIQUITY)
    right_ascension = math.atan2(math.sin(angle) * math.cos(tilt), math.cos(angle))
    return math.degrees(right_ascension), math.degrees(math.asin(math.sin(tilt) * math.sin(angle)))


def semi_arc(longitude, latitude):
    """Degrees of sidereal time from rising to culmination."""
    declination = equatorial(longitude)[1]
    tangents = math.tan(math.radians(declination)) * math.tan(math.radians(latitude))
    return 90 + math.degrees(math.asin(max(-1.0, min(1.0, tangents))))


@given(MERIDIANS, PLACIDUS_LATITUDES)
def test_placidus_cusps_divide_their_own_semi_arcs(meridian, latitude):
    """The definition of Placidus, checked without the iteration that finds the cusps."""
    cusps = compute_houses(meridian=meridian, obliquity=OBLIQUITY, latitude=latitude).cusps

    for cusp, third in ((cusps[10], 1), (cusps[11], 2)):
        hour_angle = difference(equatorial(cusp)[0], meridian)
        assert hour_angle == pytest.approx(semi_arc(cusp, latitude) * third / 3, abs=1e-5)
    for cusp, third in ((cusps[1], 2), (cusps[2], 1)):
        hour_angle = difference(meridian + 180, equatorial(cusp)[0])
        assert hour_angle == pytest.approx((180 - semi_arc(cusp, latitude)) * third / 3, abs=1e-5)


@given(MERIDIANS, st.floats(-89.9, 89.9))
def test_ascendant_lies_on_eastern_horizon(meridian, latitude):
    """At a pole itself every direction is south or north, so none is east."""
    houses = compute_houses(meridian=meridian, obliquity=OBLIQUITY, latitude=latitude)
    right_ascension, declination = map(math.radians, equatorial(houses.ascendant))
    hour_angle, breadth = math.radians(meridian) - right_ascension, math.radians(latitude)

    altitude_sine = math.sin(breadth) * math.sin(declination)
    altitude_sine += math.cos(breadth) * math.cos(declination) * math.cos(hour_angle)

    assert altitude_sine == pytest.approx(0.0, abs=1e-6)
    assert math.cos(declination) * math.sin(hour_angle) <= 1e-6


@given(MERIDIANS, st.floats(-90, 90))
def test_cusps_go_once_around_in_order_and_oppose_each_other(meridian, latitude):
    cusps = compute_houses(meridian=meridian, obliquity=OBLIQUITY, latitude=latitude).cusps
    widths = [normalize(cusps[(index + 1) % 12] - cusp) for index, cusp in enumerate(cusps)]

    assert sum(widths) == pytest.approx(360.0)
    assert all(0 < width < 180 for width in widths)
    for house in range(6):
        assert abs(difference(cusps[house + 6], cusps[house])) == pytest.approx(180.0)


@given(MERIDIANS, st.floats(-90, 90), st.floats(0, 360, exclude_max=True))
def test_every_longitude_has_one_house(meridian, latitude, longitude):
    houses = compute_houses(meridian=meridian, obliquity=OBLIQUITY, latitude=latitude)
    number = houses.house_of(longitude)

    start, end = houses.cusps[number - 1], houses.cusps[number % 12]
    assert normalize(longitude - start) <= normalize(end - start) + 1e-9


@given(MERIDIANS, PLACIDUS_LATITUDES)
def test_placidus_angles_are_first_and_tenth_cusp(meridian, latitude):
    houses = compute_houses(meridian=meridian, obliquity=OBLIQUITY, latitude=latitude)

    assert houses.system is HouseSystem.PLACIDUS
    assert (houses.cusps[0], houses.cusps[9]) == (houses.ascendant, houses.midheaven)


@pytest.mark.parametrize("latitude", [66.6, 69.65, 90.0, -66.6, -90.0])
def test_whole_signs_are_used_beyond_polar_circles(latitude):
    houses = compute_houses(meridian=100.0, obliquity=OBLIQUITY, latitude=latitude)

    assert houses.system is HouseSystem.WHOLE_SIGN
    assert all(cusp % 30 == 0 for cusp in houses.cusps)
    assert houses.house_of(houses.ascendant) == 1


def test_equinox_rises_at_equator_when_winter_solstice_culminates():
    houses = compute_houses(meridian=270.0, obliquity=OBLIQUITY, latitude=0.0)

    assert difference(houses.ascendant, 0.0) == pytest.approx(0.0, abs=1e-9)
    assert houses.midheaven == pytest.approx(270.0)
