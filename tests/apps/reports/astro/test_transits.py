from datetime import UTC, date, datetime, timedelta

import pytest

from holdfast.apps.reports.astro import ephemeris
from holdfast.apps.reports.astro.chart import natal_chart
from holdfast.apps.reports.astro.errors import DateOutOfRangeError
from holdfast.apps.reports.astro.models import BirthData, NatalChart
from holdfast.apps.reports.astro.transit_models import YearTransits
from holdfast.apps.reports.astro.transits import TRANSIT_ORBS, year_transits
from holdfast.apps.reports.astro.zodiac import ASPECT_ANGLES, Body, MoonPhase, Sign, difference


@pytest.fixture(scope="module")
def year(chart: NatalChart) -> YearTransits:
    """2024-02-15 to 2025-02-14: a leap day, and both ends inside a month and a week."""
    return year_transits(chart, date(2024, 2, 15), days=366)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


def natal_longitude(chart: NatalChart, body: Body) -> float:
    angles = {Body.ASCENDANT: chart.ascendant, Body.MIDHEAVEN: chart.midheaven}
    angle = angles.get(body)
    return chart.position(body).longitude_degrees if angle is None else angle


@pytest.mark.parametrize(
    ("phase", "moment"),
    [
        (MoonPhase.FULL_MOON, utc(2024, 2, 24, 12, 30)),
        (MoonPhase.NEW_MOON, utc(2024, 4, 8, 18, 21)),
        (MoonPhase.FIRST_QUARTER, utc(2024, 4, 15, 19, 13)),
        (MoonPhase.FULL_MOON, utc(2024, 9, 18, 2, 34)),
        (MoonPhase.NEW_MOON, utc(2024, 10, 2, 18, 49)),
        (MoonPhase.LAST_QUARTER, utc(2024, 12, 22, 22, 18)),
        (MoonPhase.FULL_MOON, utc(2025, 1, 13, 22, 27)),
    ],
)
def test_moon_phases_match_almanac_to_the_minute(year, phase, moment):
    found = [event for event in year.phases if event.at.date() == moment.date()]

    assert [event.phase for event in found] == [phase]
    assert abs(found[0].at - moment) <= timedelta(seconds=60)


@pytest.mark.parametrize(
    ("body", "direction", "moment"),
    [
        (Body.MERCURY, "retrograde", utc(2024, 4, 1, 22, 14)),
        (Body.MERCURY, "direct", utc(2024, 4, 25, 12, 54)),
        (Body.MERCURY, "retrograde", utc(2024, 8, 5, 4, 56)),
        (Body.MERCURY, "direct", utc(2024, 8, 28, 21, 14)),
        (Body.MERCURY, "retrograde", utc(2024, 11, 26, 2, 42)),
        (Body.MERCURY, "direct", utc(2024, 12, 15, 20, 56)),
        (Body.JUPITER, "retrograde", utc(2024, 10, 9, 7, 5)),
        (Body.MARS, "retrograde", utc(2024, 12, 6, 23, 33)),
    ],
)
def test_stations_match_almanac(year, body, direction, moment):
    found = [event for event in year.stations if event.body is body and event.direction == direction]

    assert min(abs(event.at - moment) for event in found) <= timedelta(minutes=10)


@pytest.mark.parametrize(
    ("body", "sign", "moment", "retrograde"),
    [
        (Body.SUN, Sign.ARIES, utc(2024, 3, 20, 3, 6), False),
        (Body.JUPITER, Sign.GEMINI, utc(2024, 5, 25, 23, 15), False),
        (Body.PLUTO, Sign.CAPRICORN, utc(2024, 9, 2, 0, 10), True),
        (Body.PLUTO, Sign.AQUARIUS, utc(2024, 11, 19, 20, 29), False),
    ],
)
def test_ingresses_match_almanac(year, body, sign, moment, retrograde):
    (found,) = [event for event in year.ingresses if event.body is body and event.sign is sign]

    assert abs(found.at - moment) <= timedelta(minutes=20)
    assert found.retrograde is retrograde


def test_every_exact_aspect_is_exact_by_the_ephemeris(year, chart):
    """Positions computed anew at the stated moments, not interpolated."""
    aspects = [aspect for day in year.days[::40] for aspect in day.aspects if aspect.exact_at]

    assert len(aspects) > 25
    for aspect in aspects:
        now = ephemeris.positions_and_speeds(ephemeris.julian_date(aspect.exact_at))
        longitude, speed = now[aspect.transiting]
        apart = abs(difference(longitude, natal_longitude(chart, aspect.natal)))
        # The moment is rounded to the second, and the Moon moves 0.00017° in one.
        assert apart == pytest.approx(ASPECT_ANGLES[aspect.kind], abs=abs(speed) / 86_400 + 1e-4)


def test_no_exact_aspect_of_sun_is_missed(year, chart):
    """The Sun passes each of the 8 angles to each of the 13 natal points once a year."""
    exact = [
        (aspect.kind, aspect.natal)
        for day in year.days[:365]
        for aspect in day.aspects
        if aspect.transiting is Body.SUN and aspect.exact_at
    ]

    assert len(exact) == pytest.approx(8 * 13, abs=1)


def test_days_list_close_aspects_with_orb_at_noon(year, chart):
    for day in year.days[::40]:
        noon = ephemeris.julian_date(datetime.combine(day.date, datetime.min.time(), UTC)) + 0.5
        now = ephemeris.positions_and_speeds(noon)
        for aspect in day.aspects:
            apart = abs(difference(now[aspect.transiting][0], natal_longitude(chart, aspect.natal)))
            orb = abs(apart - ASPECT_ANGLES[aspect.kind])
            assert orb == pytest.approx(aspect.orb_degrees, abs=0.006)
            assert aspect.exact_at or orb <= TRANSIT_ORBS[aspect.transiting] + 0.001


def test_aspects_of_moon_are_listed_once_on_their_day_and_after_the_others(year):
    for day in year.days:
        of_moon = [aspect.transiting is Body.MOON for aspect in day.aspects]

        assert of_moon == sorted(of_moon)
        assert all(
            aspect.exact_at and aspect.exact_at.date() == day.date
            for aspect in day.aspects
            if aspect.transiting is Body.MOON
        )


def test_principal_phase_names_only_the_day_of_its_moment(year):
    principal = {
        MoonPhase.NEW_MOON,
        MoonPhase.FIRST_QUARTER,
        MoonPhase.FULL_MOON,
        MoonPhase.LAST_QUARTER,
    }

    for day in year.days:
        assert (day.moon.phase in principal) is (day.phase_moment is not None)
    full = year.day(date(2024, 9, 18)).moon
    assert (full.phase, full.illumination_percent) == (MoonPhase.FULL_MOON, 100)
    assert full.age_fraction == pytest.approx(0.5, abs=0.02)


def test_days_follow_each_other_from_start(year):
    assert [day.date for day in year.days] == [
        date(2024, 2, 15) + timedelta(index) for index in range(366)
    ]
    assert year.day(date(2024, 2, 29)).date == date(2024, 2, 29)
    with pytest.raises(KeyError):
        year.day(date(2024, 2, 14))


def test_retrograde_days_lie_between_stations(year):
    period = next(
        period for period in year.retrogrades if period.body is Body.MERCURY and period.began_at
    )

    assert period.began_at.date() == date(2024, 4, 1)
    assert period.ended_at.date() == date(2024, 4, 25)
    assert Body.MERCURY in year.day(date(2024, 4, 12)).retrograde
    assert Body.MERCURY not in year.day(date(2024, 3, 31)).retrograde
    assert Body.MERCURY not in year.day(date(2024, 4, 26)).retrograde


def test_retrograde_period_that_leaves_covered_days_stays_open(year, chart):
    """Mars turned on 6 December 2024 and again on 24 February 2025."""
    inside = [period for period in year.retrogrades if period.body is Body.MARS]
    january = year_transits(chart, date(2025, 1, 10), days=5)
    outside = [period for period in january.retrogrades if period.body is Body.MARS]

    assert [period.ended_at.date() for period in inside] == [date(2025, 2, 24)]
    assert [(period.began_at, period.ended_at) for period in outside] == [(None, None)]


def test_months_and_weeks_are_complete_at_both_ends(year):
    first, last = year.month(2024, 2), year.month(2025, 2)

    assert (year.covered_from, year.covered_to) == (date(2024, 2, 1), date(2025, 2, 28))
    assert (len(first.moon), len(last.moon)) == (29, 28)
    assert [moment.phase for moment in first.phases] == [
        MoonPhase.LAST_QUARTER,
        MoonPhase.NEW_MOON,
        MoonPhase.FIRST_QUARTER,
        MoonPhase.FULL_MOON,
    ]
    assert len(year.week(2024, 7).moon) == 7
    assert Body.MERCURY in year.month(2024, 4).retrograde
    assert Body.MERCURY not in year.month(2024, 6).retrograde
    assert all(aspect.transiting is not Body.MOON for aspect in year.month(2024, 4).exact_aspects)


def test_year_survives_trip_through_json(year):
    assert YearTransits.model_validate_json(year.model_dump_json()) == year


def test_unknown_birth_time_leaves_out_points_that_are_not_known(birth: BirthData):
    chart = natal_chart(birth.model_copy(update={"birth_time": None}))

    transits = year_transits(chart, date(2024, 2, 15), days=30)

    natal = {aspect.natal for day in transits.days for aspect in day.aspects}
    assert natal.isdisjoint({Body.MOON, Body.ASCENDANT, Body.MIDHEAVEN})
    assert Body.NORTH_NODE in natal


def test_year_that_leaves_ephemeris_is_refused(chart):
    with pytest.raises(DateOutOfRangeError):
        year_transits(chart, date(2053, 1, 1))


@pytest.mark.parametrize("days", [0, 367])
def test_number_of_days_is_bounded(chart, days):
    with pytest.raises(ValueError, match="outside 1 to 366"):
        year_transits(chart, date(2024, 1, 1), days=days)
