from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.reports.astro.colours import lucky_colours, monthly_colours
from holdfast.apps.reports.astro.zodiac import Body, Sign


def with_signs(chart, sun, moon):
    positions = tuple(
        position.model_copy(
            update={"sign": {Body.SUN: sun, Body.MOON: moon}.get(position.body, position.sign)}
        )
        for position in chart.positions
    )
    return chart.model_copy(update={"positions": positions})


@given(st.sampled_from(Sign), st.sampled_from(Sign), st.dates(date(1900, 1, 1), date(2050, 1, 1)))
def test_three_colours_of_a_period_differ(chart, sun, moon, day):
    colours = lucky_colours(with_signs(chart, sun, moon), date(1990, 6, 15), day, day)

    assert len({colours.primary.hex, colours.secondary.hex, colours.accent.hex}) == 3


def test_same_period_has_same_colours(chart):
    period = date(1990, 6, 15), date(2026, 5, 1), date(2026, 5, 31)

    assert lucky_colours(chart, *period) == lucky_colours(chart, *period)


@pytest.mark.parametrize("start", [date(2026, 1, 31), date(2026, 5, 20), date(2026, 12, 1)])
def test_months_cover_the_year_without_gap(chart, start):
    end = start + timedelta(days=364)

    months = monthly_colours(chart, date(1990, 6, 15), start, end)

    assert (months[0].first_day, months[-1].last_day) == (start, end)
    for month, following in pairwise(months):
        assert following.first_day == month.last_day + timedelta(days=1)
        assert following.primary != month.primary
