import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.reports.astro.zodiac import (
    SIGNS,
    Sign,
    difference,
    normalize,
    round_longitude,
    sign_of,
)

ANGLES = st.floats(-1e6, 1e6)


@given(ANGLES)
def test_stored_longitude_is_in_range_and_has_sign(angle):
    stored = round_longitude(angle)

    assert 0 <= stored < 360
    assert sign_of(stored) in SIGNS


@pytest.mark.parametrize(
    ("angle", "expected"), [(-1e-17, 0.0), (360.0, 0.0), (-30.0, 330.0), (725.0, 5.0)]
)
def test_angle_is_brought_into_circle(angle, expected):
    assert normalize(angle) == expected


def test_longitude_just_below_full_circle_is_stored_as_first_degree_of_aries():
    assert round_longitude(359.99999) == 0.0
    assert sign_of(round_longitude(359.99999)) is Sign.ARIES


@given(ANGLES, ANGLES)
def test_difference_takes_the_shorter_way(first, second):
    assert -180 <= difference(first, second) < 180


def test_sign_begins_with_its_first_degree():
    assert (sign_of(29.9999), sign_of(30.0)) == (Sign.ARIES, Sign.TAURUS)
