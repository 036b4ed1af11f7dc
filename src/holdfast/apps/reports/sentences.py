"""Sentences about a sky and a chart, for the offline writer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Any

from holdfast.apps.reports.phrases import Pen, phrases
from holdfast.apps.reports.wording import capital, ordinal

_WITH_ARTICLE = frozenset({"Sun", "Moon", "North Node", "Ascendant", "Midheaven"})
_POINTS = frozenset({"Ascendant", "Midheaven"})

_TRANSITS = (
    "{body} stands in {kind} to your {natal}{house}{exact} and {effect}",
    "{body}, in {kind} with your {natal}{house}{exact}, {effect}",
    "look to {body}: its {kind} to your {natal}{house}{exact} {effect}",
    "the {kind} of {body} to your {natal}{house}{exact} {effect}",
)
_EVENTS = (
    "{event} ({when}), and the tone of things shifts a little",
    "{event} ({when}); you may notice it first in small things",
    "do not overlook that {event} ({when})",
)
_RETROGRADES = (
    "{body} is retrograde: take a second look at {theme} before you begin anything new",
    "as long as {body} moves backwards, be patient with {theme}",
)
_PLACEMENTS = (
    "your {body} in {sign}{house} colours {theme} with {gift}",
    "with {named} in {sign}{house}, {theme} can rely on {gift}",
    "{gift} comes naturally to you, as your {body} in {sign}{house} shows",
    "born with {named} in {sign}{house}, you bring {gift} to {theme}",
)
_RISING = (
    "{sign} rising lends {gift} to the way you come across",
    "with {sign} on the Ascendant, people meet {gift} first",
)
_NATAL_ASPECTS = (
    "in your chart {first} stands in {kind} to {second}, which {effect}",
    "the {kind} of {first} and {second} that you were born with {effect}",
)
_LIFE_PATHS = (
    "your life path {number} is about {theme}, and it shows here",
    "life path {number} asks for {theme}",
    "the number {number}, your life path, points the same way: {theme}",
)
_YEARS = (
    "a personal year {number} puts {theme} first",
    "your personal year {number} favours {theme}",
)
_PHASE_DATES = (
    "{phase} falls in {sign} on {when}",
    "mark {when}, when {phase} comes in {sign}",
)


class Sky:
    """The transits of one period, as sentences."""

    def __init__(self, sky: dict[str, Any], kind: str, *, turn: int) -> None:
        self._sky = sky
        self._daily = kind == "daily"
        self._turn = turn
        """Number of the question: each begins with another part of the sky."""

    def sentences(self, pen: Pen) -> Iterator[str]:
        """Yield what the sky does, transits first, then the Moon and the rest."""
        transits = [
            self._transit(aspect, pen) for aspect in _turned(self._sky.get("aspects", []), self._turn)
        ]
        others = pen.shuffled(
            [*self._moon(pen), *self._phases(pen), *self._events(pen), *self._retrogrades(pen)]
        )
        first, second = (others, transits) if pen.below(2) and others else (transits, others)
        mixed = chain.from_iterable(zip_longest(first, second))
        return (capital(sentence) + "." for sentence in mixed if sentence)

    def _transit(self, aspect: dict[str, Any], pen: Pen) -> str:
        house = aspect.get("natal_house")
        return pen.pick(_TRANSITS).format(
            body=_named(aspect["body"]),
            kind=aspect["aspect"],
            natal=_natal(aspect["natal"]),
            house=f" in the {ordinal(house)} house" if house and pen.below(2) else "",
            exact=self._exact(aspect.get("exact")),
            effect=_effect(aspect["aspect"], aspect["body"], aspect["natal"], pen),
        )

    def _exact(self, when: str | None) -> str:
        if when is None:
            return ""
        return f" (exact at {when})" if self._daily else f" (exact on {_at(when)})"

    def _moon(self, pen: Pen) -> Iterator[str]:
        moon = self._sky.get("moon")
        if moon is None:
            return
        yield f"the Moon in {moon['sign']} {pen.pick(phrases()['moon'][moon['sign']])}"
        yield pen.pick(phrases()["phases"][moon["phase"]])
        if "exact" in moon:
            yield f"{moon['phase']} is exact at {moon['exact']}"

    def _phases(self, pen: Pen) -> Iterator[str]:
        for phase in _turned(self._sky.get("moon_phases", []), self._turn)[:2]:
            dated = pen.pick(_PHASE_DATES).format(
                phase=phase["phase"], sign=phase["sign"], when=_at(phase["at"])
            )
            yield f"{dated}. {capital(pen.pick(phrases()['phases'][phase['phase']]))}"

    def _events(self, pen: Pen) -> Iterator[str]:
        for told in _turned(self._sky.get("events", []), self._turn)[:3]:
            event, _, when = told.partition(", ")
            body, _, rest = event.partition(" ")
            yield pen.pick(_EVENTS).format(event=f"{_named(body)} {rest}", when=when)

    def _retrogrades(self, pen: Pen) -> Iterator[str]:
        for body in _turned(self._sky.get("retrograde", []), self._turn)[:1]:
            yield pen.pick(_RETROGRADES).format(body=body, theme=pen.pick(phrases()["natal"][body]))


class Chart:
    """The reader's chart, as sentences."""

    def __init__(self, person: dict[str, Any]) -> None:
        self._person = person

    def sentences(self, pen: Pen, turn: int, focus: list[str]) -> Iterator[str]:
        """Yield what the chart says, what is in focus first, each time beginning elsewhere."""
        bodies = _turned(self._person["placements"], turn * 3)
        bodies = _turned([each for each in bodies if each["body"] in focus], turn) + [
            each for each in bodies if each["body"] not in focus
        ]
        placements = [self._placement(found, pen) for found in bodies]
        aspects = [self._aspect(found, pen) for found in _turned(self._person["aspects"], turn)]
        numbers = pen.shuffled([*self._numbers(pen), *self._rising(pen)])
        mixed = chain.from_iterable(zip_longest(placements, numbers, aspects))
        return (capital(sentence) + "." for sentence in mixed if sentence)

    def _placement(self, found: dict[str, Any], pen: Pen) -> str:
        area = phrases()["houses"]["areas"]
        house = found.get("house")
        return pen.pick(_PLACEMENTS).format(
            body=found["body"],
            named=_named(found["body"]),
            sign=found["sign"],
            house=f" in the house of {area[house - 1]}" if house and pen.below(3) == 0 else "",
            theme=pen.pick(phrases()["natal"][found["body"]]),
            gift=pen.pick(phrases()["signs"][found["sign"]]),
        )

    def _rising(self, pen: Pen) -> Iterator[str]:
        sign = self._person.get("ascendant")
        if sign is not None:
            yield pen.pick(_RISING).format(sign=sign, gift=pen.pick(phrases()["signs"][sign]))

    def _aspect(self, told: str, pen: Pen) -> str:
        first, kind, second = told.split(" ")
        return pen.pick(_NATAL_ASPECTS).format(
            first=_named(first),
            kind=kind,
            second=_named(second),
            effect=_effect(kind, first, second, pen),
        )

    def _numbers(self, pen: Pen) -> Iterator[str]:
        path, year = self._person["life_path"], self._person["personal_year"]
        yield pen.pick(_LIFE_PATHS).format(number=path, theme=pen.pick(_number(path)))
        yield pen.pick(_YEARS).format(number=year, theme=pen.pick(_number(year)))


def _effect(kind: str, body: str, natal: str, pen: Pen) -> str:
    return str(
        pen.pick(phrases()["aspects"][kind]).format(
            b=pen.pick(phrases()["bodies"][body]), n=pen.pick(phrases()["natal"][natal])
        )
    )


def _number(number: int) -> list[str]:
    found: list[str] = phrases()["numbers"][str(number)]
    return found


def _turned(items: list[Any], turn: int) -> list[Any]:
    """Return the items beginning at another one."""
    if not items:
        return []
    # In a long list, the twenty questions of a period begin far apart.
    at = turn * (5 if len(items) > 11 else 1) % len(items)
    return items[at:] + items[:at]


def _named(body: str) -> str:
    return f"the {body}" if body in _WITH_ARTICLE else body


def _natal(body: str) -> str:
    return body if body in _POINTS else f"natal {body}"


def _at(when: str) -> str:
    """Turn '20 May, 16:13 UTC' into '20 May at 16:13 UTC'."""
    return when.replace(", ", " at ")
