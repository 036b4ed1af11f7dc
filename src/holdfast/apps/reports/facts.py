"""From the computed sky to the facts that a prompt carries: small, plain, and nothing personal.

A model is told the chart, the numbers and the transits. It is not told the name, the birth date
or the place: the texts do not need them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from holdfast.apps.reports.astro import DayTransits, NatalChart, PeriodSky, Precomputed
from holdfast.apps.reports.astro.models import Position
from holdfast.apps.reports.astro.transit_models import Ingress, Station, TransitAspect
from holdfast.apps.reports.astro.zodiac import Body, sign_of
from holdfast.apps.reports.manifest import Period
from holdfast.apps.reports.wording import moment, period_title

Facts = dict[str, Any]

ASPECTS_MAX: Final = {"weekly": 14, "monthly": 18, "yearly": 24}
PLANET_ASPECTS_A_DAY: Final = 7
MOON_ASPECTS_A_DAY: Final = 4
NATAL_ASPECTS: Final = 10
SLOW_BODIES: Final = frozenset(
    {Body.JUPITER, Body.SATURN, Body.URANUS, Body.NEPTUNE, Body.PLUTO, Body.MARS}
)
"""What a year is told by; the faster ones fill its weeks and days."""


def person_facts(facts: Precomputed) -> Facts:
    """Return the reader's chart and numbers, the same for all calls of a report."""
    chart, numbers = facts.chart, facts.numerology
    found = {
        "sun": chart.position(Body.SUN).sign,
        "moon": chart.position(Body.MOON).sign,
        "ascendant": chart.rising_sign,
        "midheaven": None if chart.midheaven is None else sign_of(chart.midheaven),
        "placements": [_placement(position) for position in chart.positions],
        "aspects": [
            f"{aspect.first} {aspect.kind} {aspect.second}" for aspect in chart.aspects[:NATAL_ASPECTS]
        ],
        "life_path": numbers.life_path,
        "expression": numbers.expression,
        "soul_urge": numbers.soul_urge,
        "personal_year": numbers.personal_year,
    }
    return _without_none(found)


def period_facts(facts: Precomputed, period: Period) -> Facts:
    """Return one period of a request: its sky and its questions."""
    return {
        "period": period.id,
        "title": period_title(period),
        "sky": _sky(facts, period),
        "questions": [
            {"number": question.number, "topic": question.topic, "question": question.text}
            for question in period.questions
        ],
    }


def _sky(facts: Precomputed, period: Period) -> Facts:
    if period.kind == "section":
        return {"look_first_at": list(period.focus)}
    if period.kind == "daily":
        return _day_sky(facts.transits.day(period.first_day), facts.chart)
    sky = facts.transits.period(period.first_day, period.last_day)
    if period.kind == "yearly":
        return _year_sky(sky, facts)
    return _without_none(
        {
            "moon_phases": [
                {"phase": each.phase, "sign": each.sign, "at": moment(each.at, with_day=True)}
                for each in sky.phases
            ],
            "aspects": _aspects(
                sky.exact_aspects[: ASPECTS_MAX[period.kind]], facts.chart, with_day=True
            ),
            "events": _events(sky.ingresses, sky.stations, with_day=True),
            "retrograde": list(sky.retrograde),
        }
    )


def _day_sky(day: DayTransits, chart: NatalChart) -> Facts:
    planets = [each for each in day.aspects if each.transiting is not Body.MOON]
    moons = [each for each in day.aspects if each.transiting is Body.MOON]
    told = planets[:PLANET_ASPECTS_A_DAY] + moons[:MOON_ASPECTS_A_DAY]
    exact = day.phase_moment
    return _without_none(
        {
            "moon": _without_none(
                {
                    "sign": day.moon.sign,
                    "phase": day.moon.phase,
                    "lit_percent": day.moon.illumination_percent,
                    "exact": moment(exact.at, with_day=False) if exact else None,
                }
            ),
            "aspects": _aspects(told, chart, with_day=False),
            "events": _events(day.ingresses, day.stations, with_day=False),
            "retrograde": list(day.retrograde),
        }
    )


def _year_sky(sky: PeriodSky, facts: Precomputed) -> Facts:
    slow = [each for each in sky.exact_aspects if each.transiting in SLOW_BODIES]
    rare = spread([each for each in slow if each.transiting is not Body.MARS], ASPECTS_MAX["yearly"])
    rest = spread(
        [each for each in slow if each.transiting is Body.MARS], ASPECTS_MAX["yearly"] - len(rare)
    )
    told = [each for each in slow if each in rare or each in rest]
    return _without_none(
        {
            "aspects": _aspects(told, facts.chart, with_day=True),
            "events": _events(
                [each for each in sky.ingresses if each.body in SLOW_BODIES], sky.stations, with_day=True
            ),
            "personal_year": facts.numerology.personal_year,
        }
    )


def spread(found: Sequence[TransitAspect], count: int) -> list[TransitAspect]:
    """Thin out a long list evenly, so that the whole time is told of."""
    if len(found) <= count:
        return list(found)
    return [found[index * len(found) // count] for index in range(count)]


def _aspects(found: Iterable[TransitAspect], chart: NatalChart, *, with_day: bool) -> list[Facts]:
    houses = {position.body: position.house for position in chart.positions}
    return [
        _without_none(
            {
                "body": aspect.transiting,
                "aspect": aspect.kind,
                "natal": aspect.natal,
                "natal_house": houses.get(aspect.natal),
                "exact": moment(aspect.exact_at, with_day=with_day) if aspect.exact_at else None,
            }
        )
        for aspect in found
    ]


def _events(ingresses: Iterable[Ingress], stations: Iterable[Station], *, with_day: bool) -> list[str]:
    told = [
        (each.at, f"{each.body} {'goes back into' if each.retrograde else 'enters'} {each.sign}")
        for each in ingresses
    ]
    told += [(each.at, f"{each.body} turns {each.direction} in {each.sign}") for each in stations]
    return [f"{text}, {moment(at, with_day=with_day)}" for at, text in sorted(told)]


def _placement(position: Position) -> Facts:
    return _without_none(
        {
            "body": position.body,
            "sign": position.sign,
            "degree": int(position.degree_in_sign),
            "house": position.house,
            "retrograde": position.retrograde or None,
        }
    )


def _without_none(found: Facts) -> Facts:
    return {name: value for name, value in found.items() if value not in (None, [])}
