"""Lucky colours of a period, from the chart and the numbers; no chance involved.

The associations are the usual ones of popular astrology: a family of colours for each sign, one
colour for each number of the personal month. They are a product's convention, not a measurement.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from holdfast.apps.reports.astro.models import Colour, LuckyColours, NatalChart
from holdfast.apps.reports.astro.numerology import personal_month
from holdfast.apps.reports.astro.zodiac import Body, Sign


def _colours(**hexes: str) -> tuple[Colour, ...]:
    return tuple(Colour(name=name.replace("_", " "), hex=f"#{value}") for name, value in hexes.items())


_SIGN_COLOURS: Final = {
    Sign.ARIES: _colours(scarlet="c8102e", coral="f2684a", white="f7f5f0"),
    Sign.TAURUS: _colours(moss_green="6a8f3c", rose="d98299", copper="b06a3b"),
    Sign.GEMINI: _colours(lemon="f2d543", sky_blue="7fb8dd", silver_grey="b4bac2"),
    Sign.CANCER: _colours(pearl="ece7da", sea_green="4f9d86", silver="c3c7cc"),
    Sign.LEO: _colours(gold="d9a520", orange="e8762c", royal_purple="5e3a87"),
    Sign.VIRGO: _colours(sage="9caf88", wheat="e3cfa0", navy="243b5e"),
    Sign.LIBRA: _colours(blush_pink="ecb9bd", pastel_blue="a7c7e7", ivory="f6f1e1"),
    Sign.SCORPIO: _colours(burgundy="6e1a2d", black="1d1b20", plum="70345f"),
    Sign.SAGITTARIUS: _colours(violet="7a4fa3", turquoise="2fa7a0", indigo="37377e"),
    Sign.CAPRICORN: _colours(charcoal="41444b", forest_green="2e5d43", chestnut="7b4a32"),
    Sign.AQUARIUS: _colours(electric_blue="1f75d8", aqua="5cc8c8", ultraviolet="5b47a5"),
    Sign.PISCES: _colours(lavender="b7a3d3", sea_blue="3f7cac", mint="a9d8c0"),
}
_MONTH_COLOURS: Final = _colours(
    red="c0262d",
    apricot="f0a868",
    yellow="f0c419",
    emerald="1f8a5b",
    cobalt="2151a3",
    pink="e38fb0",
    amethyst="8d67b5",
    bronze="8a6430",
    magenta="b5307f",
)
"""For the personal months 1 to 9."""


def lucky_colours(chart: NatalChart, birth_date: date, first_day: date, last_day: date) -> LuckyColours:
    """Choose three different colours for a period.

    The primary colour follows the Sun's sign, the secondary the Moon's, both turning with the
    month; the accent follows the personal month of the first day.

    Args:
        chart: The natal chart.
        birth_date: For the personal month.
        first_day: First day of the period.
        last_day: Last day, included.
    """
    suns = _SIGN_COLOURS[chart.position(Body.SUN).sign]
    moons = _SIGN_COLOURS[chart.position(Body.MOON).sign]
    month = personal_month(birth_date, first_day.year, first_day.month)
    primary = suns[first_day.month % len(suns)]
    turned = (moons[(month + step) % len(moons)] for step in range(len(moons)))
    # Sun and Moon may share a sign, and with it the palette.
    secondary = next(colour for colour in turned if colour != primary)
    return LuckyColours(
        first_day=first_day,
        last_day=last_day,
        primary=primary,
        secondary=secondary,
        accent=_MONTH_COLOURS[month - 1],
        personal_month=month,
    )


def monthly_colours(
    chart: NatalChart, birth_date: date, start: date, end: date
) -> tuple[LuckyColours, ...]:
    """Choose colours for each calendar month that the days from `start` to `end` touch."""
    months = []
    first_day = start
    while first_day <= end:
        next_month = (first_day.replace(day=1) + timedelta(days=31)).replace(day=1)
        last_day = min(end, next_month - timedelta(days=1))
        months.append(lucky_colours(chart, birth_date, first_day, last_day))
        first_day = next_month
    return tuple(months)
