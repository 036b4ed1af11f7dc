"""Opening lines of days, weeks, months and the year: the computed sky in plain sentences.

No model writes these, so they are right even where an answer is vague.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.apps.reports.astro import DayTransits, PeriodSky, Precomputed
from holdfast.apps.reports.astro.transit_models import Ingress, PhaseMoment, Station, TransitAspect
from holdfast.apps.reports.astro.zodiac import Body
from holdfast.apps.reports.facts import SLOW_BODIES, spread
from holdfast.apps.reports.wording import capital, clock, day_month, joined, moment, ordinal

_POINTS = frozenset({Body.ASCENDANT, Body.MIDHEAVEN})
_WITH_ARTICLE = frozenset({Body.SUN, Body.MOON, Body.NORTH_NODE})
_ASPECTS_TOLD = 3


def day_opener(day: DayTransits) -> str:
    """Return two or three sentences about a day's sky."""
    told = []
    if day.phase_moment is not None:
        told.append(
            f"{day.phase_moment.phase} in {day.phase_moment.sign} at {clock(day.phase_moment.at)}."
        )
    told += [f"{capital(_ingress(each))} at {clock(each.at)}." for each in day.ingresses]
    told += [f"{_station(each)} at {clock(each.at)}." for each in day.stations]
    exact = [each for each in day.aspects if each.exact_at and each.transiting is not Body.MOON]
    if exact:
        told.append(_exact(exact[:3], with_day=False))
    elif day.aspects:
        closest = day.aspects[0]
        told.append(
            f"The closest contact of the day is {_name(closest.transiting)} in {closest.kind} to your "
            f"{_natal(closest.natal)}."
        )
    return " ".join(told[:4])


def week_opener(sky: PeriodSky) -> str:
    """Return a paragraph about a week's sky."""
    told = [_phases(sky.phases), _dated_events(sky.ingresses, sky.stations)]
    if sky.exact_aspects:
        told.append(_exact(sky.exact_aspects[:_ASPECTS_TOLD], with_day=True))
    return " ".join(filter(None, told))


def month_opener(sky: PeriodSky) -> str:
    """Return a paragraph about a month's sky; its phases are drawn below it."""
    told = [_dated_events(sky.ingresses, sky.stations)]
    if sky.retrograde:
        names = joined([_name(body) for body in sky.retrograde])
        verb = "is" if len(sky.retrograde) == 1 else "are"
        told.append(f"{capital(names)} {verb} retrograde for some or all of the month.")
    slow = [each for each in sky.exact_aspects if each.transiting in SLOW_BODIES]
    if slow:
        told.append(_exact(slow[:_ASPECTS_TOLD], with_day=True))
    return " ".join(filter(None, told))


def year_opener(facts: Precomputed, sky: PeriodSky) -> str:
    """Return a paragraph about the year's slow movements."""
    rare = [
        each
        for each in sky.exact_aspects
        if each.transiting in SLOW_BODIES and each.transiting is not Body.MARS
    ]
    ingresses = [
        each for each in sky.ingresses if each.body in SLOW_BODIES and each.body is not Body.MARS
    ]
    told = [f"By the numbers this is a personal year {facts.numerology.personal_year}."]
    told.append(_dated_events(ingresses, ()))
    if rare:
        told.append(_exact(spread(rare, 5), with_day=True))
    rising = facts.chart.rising_sign
    sun = facts.chart.position(Body.SUN)
    house = f" in the {ordinal(sun.house)} house" if sun.house else ""
    told.append(
        f"All of it meets a chart with the Sun in {sun.sign}{house}, the Moon in "
        f"{facts.chart.position(Body.MOON).sign}" + (f" and {rising} rising." if rising else ".")
    )
    return " ".join(filter(None, told))


def _dated_events(ingresses: Sequence[Ingress], stations: Sequence[Station]) -> str:
    events = [(each.at, _ingress(each)) for each in ingresses]
    events += [(each.at, _station(each)) for each in stations]
    if not events:
        return ""
    told = joined([f"{text} on {day_month(at.date())}" for at, text in sorted(events)])
    return f"{capital(told)}."


def _phases(phases: Sequence[PhaseMoment]) -> str:
    told = [f"{each.phase} in {each.sign} on {moment(each.at, with_day=True)}" for each in phases]
    return f"{joined(told)}." if told else ""


def _exact(aspects: Sequence[TransitAspect], *, with_day: bool) -> str:
    told = []
    timed = [(each.exact_at, each) for each in aspects if each.exact_at is not None]
    for at, each in sorted(timed, key=lambda pair: pair[0]):
        when = f"on {day_month(at.date())}" if with_day else f"at {clock(at)}"
        told.append(f"{_name(each.transiting)} in {each.kind} to your {_natal(each.natal)} {when}")
    return f"Exact: {joined(told)}." if told else ""


def _ingress(each: Ingress) -> str:
    return f"{_name(each.body)} {'goes back into' if each.retrograde else 'enters'} {each.sign}"


def _station(each: Station) -> str:
    return f"{each.body} turns {each.direction} in {each.sign}"


def _name(body: Body) -> str:
    return f"the {body}" if body in _WITH_ARTICLE else str(body)


def _natal(body: Body) -> str:
    return str(body) if body in _POINTS else f"natal {body}"
