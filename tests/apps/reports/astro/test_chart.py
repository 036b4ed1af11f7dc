from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.apps.reports.astro.chart import NATAL_ORBS, natal_chart
from holdfast.apps.reports.astro.ephemeris import FIRST_DAY, LAST_DAY
from holdfast.apps.reports.astro.errors import DateOutOfRangeError, InvalidBirthError
from holdfast.apps.reports.astro.models import BirthData, NatalChart, Place
from holdfast.apps.reports.astro.zodiac import ASPECT_ANGLES, Body, HouseSystem, Sign, difference

ROME = Place(name="Rome", country="Italy", latitude=41.9028, longitude=12.4964, timezone="Europe/Rome")
BERLIN = Place(name="Berlin", latitude=52.52, longitude=13.41, timezone="Europe/Berlin")
APIA = Place(name="Apia", latitude=-13.83, longitude=-171.77, timezone="Pacific/Apia")
TROMSO = Place(name="Tromsø", latitude=69.65, longitude=18.96, timezone="Europe/Oslo")

PLACES = st.builds(
    Place,
    name=st.just("Anywhere"),
    latitude=st.floats(-90, 90),
    longitude=st.floats(-180, 180),
    timezone=st.sampled_from(["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata"]),
)


def born(day, clock=None, place=BERLIN, name="Ada"):
    return BirthData(name=name, birth_date=day, birth_time=clock, place=place)


def test_chart_agrees_with_measured_design_sketch():
    """The sketch was within 11 seconds of arc of kerykeion on 40 random charts."""
    chart = natal_chart(born(date(1990, 6, 15), time(14, 30), ROME))

    assert chart.born_utc == datetime(1990, 6, 15, 12, 30, tzinfo=UTC)
    assert chart.position(Body.SUN).longitude_degrees == pytest.approx(84.1495, abs=0.003)
    assert chart.position(Body.MOON).longitude_degrees == pytest.approx(345.6365, abs=0.003)
    assert chart.ascendant == pytest.approx(190.608, abs=0.004)
    assert chart.midheaven == pytest.approx(102.448, abs=0.004)
    assert chart.rising_sign is Sign.LIBRA
    assert chart.house_system is HouseSystem.PLACIDUS
    assert [body for body in Body if body in {p.body for p in chart.positions if p.retrograde}] == [
        Body.SATURN,
        Body.URANUS,
        Body.NEPTUNE,
        Body.PLUTO,
    ]


@given(st.dates(FIRST_DAY, LAST_DAY), st.one_of(st.none(), st.times()), PLACES)
@settings(max_examples=25, deadline=None)
def test_chart_holds_together_for_any_birth_on_earth(day, clock, place):
    try:
        chart = natal_chart(born(day, clock, place))
    except InvalidBirthError as error:
        assert "did not exist" in str(error)  # noqa: PT017
        return

    assert NatalChart.model_validate_json(chart.model_dump_json()) == chart
    assert len(chart.positions) == 11
    assert (chart.houses is None) is (clock is None)
    for position in chart.positions:
        assert (position.house is None) is (clock is None)
        start = list(Sign).index(position.sign) * 30
        assert start + position.degree_in_sign == pytest.approx(position.longitude_degrees)
    for aspect in chart.aspects:
        first, second = (
            chart.position(body).longitude_degrees for body in (aspect.first, aspect.second)
        )
        orb = abs(abs(difference(first, second)) - ASPECT_ANGLES[aspect.kind])
        assert orb == pytest.approx(aspect.orb_degrees, abs=0.006)
        assert orb <= NATAL_ORBS[aspect.kind]


def test_sun_stands_on_ascendant_at_sunrise():
    """Berlin, 21 June 2024: the upper limb rose at 4:43; refraction makes that four minutes early."""
    chart = natal_chart(born(date(2024, 6, 21), time(4, 49)))

    assert difference(
        chart.position(Body.SUN).longitude_degrees, chart.ascendant or 0.0
    ) == pytest.approx(0.0, abs=2.0)


@pytest.mark.parametrize(
    ("zone", "moment", "hours"),
    [
        ("Europe/London", datetime(1944, 7, 1, 12), 2.0),  # noqa: DTZ001 - double summer time
        ("Asia/Kathmandu", datetime(1980, 1, 1, 12), 5.5),  # noqa: DTZ001 - 5:45 since 1986
        ("America/New_York", datetime(1974, 1, 20, 12), -4.0),  # noqa: DTZ001 - the energy crisis
        ("Europe/Moscow", datetime(2012, 1, 1, 12), 4.0),  # noqa: DTZ001 - summer time all year
    ],
)
def test_local_time_follows_history_of_time_zone(zone, moment, hours):
    place = Place(name="There", latitude=45, longitude=0, timezone=zone)

    chart = natal_chart(born(moment.date(), moment.time(), place))

    assert chart.utc_offset_seconds == hours * 3600
    assert chart.born_local == moment


def test_time_skipped_by_clock_change_is_refused():
    with pytest.raises(InvalidBirthError, match=r"'2021-03-28 02:30' did not exist in 'Berlin'"):
        natal_chart(born(date(2021, 3, 28), time(2, 30)))


def test_day_skipped_by_date_line_is_refused_even_without_time():
    """Samoa had no 30 December 2011."""
    with pytest.raises(InvalidBirthError, match="did not exist"):
        natal_chart(born(date(2011, 12, 30), None, APIA))


def test_time_shown_twice_is_taken_as_first_and_noted():
    chart = natal_chart(born(date(2021, 10, 31), time(2, 30)))

    assert chart.born_utc == datetime(2021, 10, 31, 0, 30, tzinfo=UTC)
    assert chart.notes == (
        "The clocks were set back that day, so 02:30 came twice; this chart uses the first.",
    )


def test_unknown_time_gives_noon_without_houses_and_says_so():
    chart = natal_chart(born(date(1990, 6, 15)))

    assert chart.born_local == datetime(1990, 6, 15, 12)  # noqa: DTZ001
    assert chart.time_known is False
    assert (chart.houses, chart.ascendant, chart.midheaven, chart.house_system) == (None,) * 4
    assert not [aspect for aspect in chart.aspects if Body.MOON in (aspect.first, aspect.second)]
    assert "no houses" in chart.notes[0]


def test_unknown_time_says_when_moon_changed_sign_that_day():
    """In two weeks the Moon changes its sign six times or so, each time on one of the days."""
    charts = [natal_chart(born(date(2000, 5, day))) for day in range(1, 15)]

    changing = [chart for chart in charts if len(chart.notes) == 2]

    assert 4 <= len(changing) <= 7
    assert "The Moon moved from " in changing[0].notes[1]


def test_whole_signs_near_pole_are_noted():
    chart = natal_chart(born(date(2000, 1, 1), time(12), TROMSO))

    assert chart.house_system is HouseSystem.WHOLE_SIGN
    assert chart.notes == (
        "Placidus houses do not exist this close to a pole; this chart uses whole signs.",
    )


def test_birth_after_given_day_is_refused():
    with pytest.raises(InvalidBirthError, match=r"'2026-05-21' is after '2026-05-20'"):
        natal_chart(born(date(2026, 5, 21), time(1)), not_after=date(2026, 5, 20))


def test_birth_outside_ephemeris_is_refused():
    with pytest.raises(DateOutOfRangeError, match="'1879-03-14'"):
        natal_chart(born(date(1879, 3, 14), time(11, 30)))


def test_time_with_offset_is_refused():
    with pytest.raises(InvalidBirthError, match="carries an offset"):
        natal_chart(born(date(2000, 1, 1), time(12, tzinfo=UTC)))


def test_unknown_time_zone_is_refused():
    nowhere = Place(name="Nowhere", latitude=0, longitude=0, timezone="Mars/Olympus")

    with pytest.raises(InvalidBirthError, match="'Mars/Olympus'"):
        natal_chart(born(date(2000, 1, 1), time(12), nowhere))


def test_chart_has_no_position_for_its_angles():
    chart = natal_chart(born(date(2000, 1, 1), time(12)))

    with pytest.raises(KeyError):
        chart.position(Body.ASCENDANT)
