"""The pages that every report has: cover line, natal chart, numerology, imprint."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from holdfast.apps.reports.astro import NatalChart, Precomputed, natal_wheel
from holdfast.apps.reports.astro.models import LuckyColours, Position
from holdfast.apps.reports.astro.models import Numerology as Numbers
from holdfast.apps.reports.astro.transit_models import MoonDay as SkyMoon
from holdfast.apps.reports.astro.transit_models import TransitAspect
from holdfast.apps.reports.astro.wheel import BODY_GLYPHS, SIGN_GLYPHS
from holdfast.apps.reports.astro.zodiac import Body, sign_of
from holdfast.apps.reports.questions import PROMPTS
from holdfast.apps.reports.render import document as page
from holdfast.apps.reports.wording import degrees, long_date, ordinal

SAMPLE_NOTICE: Final = "Sample edition: texts put together offline, without a language model."
AUTHOR: Final = "Holdfast Reports"

_GLYPHS: Final = {**BODY_GLYPHS, Body.ASCENDANT: "Asc", Body.MIDHEAVEN: "MC"}
_PLACES: Final = {
    "life_path": "Life path",
    "birthday": "Birthday",
    "expression": "Expression",
    "soul_urge": "Soul urge",
    "personality": "Personality",
    "personal_year": "Personal year",
}
_NATAL_ASPECTS_MAX: Final = 16


def natal_page(facts: Precomputed) -> page.NatalChart:
    """Return the natal chart with its wheel, table and aspects."""
    chart = facts.chart
    return page.NatalChart(
        when=_born(chart),
        place=chart.place.label,
        house_system=chart.house_system,
        wheel_svg=natal_wheel(chart),
        rows=tuple(_row(position) for position in chart.positions),
        ascendant=_angle(chart.ascendant),
        midheaven=_angle(chart.midheaven),
        aspects=tuple(
            page.NatalAspect(
                first=_GLYPHS[aspect.first],
                aspect=aspect.kind,
                second=_GLYPHS[aspect.second],
                orb=f"{aspect.orb_degrees:.1f}°",
            )
            for aspect in chart.aspects[:_NATAL_ASPECTS_MAX]
        ),
        moon_age=_moon_age(chart),
        notes=chart.notes,
    )


def numerology_page(facts: Precomputed) -> page.Numerology:
    """Return the numbers with a short text each, and the colours of the first month."""
    numbers = facts.numerology
    found = [(place, getattr(numbers, place)) for place in _PLACES]
    return page.Numerology(
        intro=_texts()["intro"].strip(),
        numbers=tuple(_number(place, value, numbers) for place, value in found if value is not None),
        colours=_swatches(facts.colours[0]),
        notes=numbers.notes,
    )


def imprint(facts: Precomputed) -> tuple[str, ...]:
    """Return how the report was made, what it is not, and whose work it stands on."""
    sky = (
        "Positions of Sun, Moon and planets: ephemeris JPL DE421, tropical zodiac, apparent "
        "geocentric longitudes. Times of transits are in UTC. Place of birth and its time zone: "
        "GeoNames (geonames.org), used under CC BY 4.0, and the IANA time zone database. "
        f"{_houses(facts.chart)}"
    )
    texts = (
        "The texts were written for this chart alone, by software, from the positions and numbers "
        "that are printed in this report."
    )
    purpose = (
        "Astrology is a language for reflection. This report is meant for entertainment and for "
        "thinking about yourself; it foretells nothing, and it replaces no medical, legal or "
        "financial advice."
    )
    return sky, texts, purpose


def placements(facts: Precomputed, bodies: Iterable[str]) -> tuple[str, ...]:
    """Return where these bodies stand in the chart, one line each; what is unknown is left out."""
    chart = facts.chart
    found = {position.body: position for position in chart.positions}
    angles = {Body.ASCENDANT: chart.ascendant, Body.MIDHEAVEN: chart.midheaven}
    lines = []
    for name in map(Body, bodies):
        longitude = angles.get(name)
        if name in found:
            position = found[name]
            house = f", {ordinal(position.house)} house" if position.house else ""
            lines.append(f"{_GLYPHS[name]} {name} in {position.sign}{house}")
        elif longitude is not None:
            lines.append(f"{name} in {sign_of(longitude)}")
    return tuple(lines)


def colour_line(colours: LuckyColours) -> str:
    """Return a sentence that names the colours of a period."""
    return (
        f"Your colours are {colours.primary.name}, {colours.secondary.name} and, as an accent, "
        f"{colours.accent.name}."
    )


def moon(day: SkyMoon) -> page.Moon:
    """Return the Moon of a day for drawing."""
    return page.Moon(
        age=day.age_fraction,
        phase=day.phase,
        illumination=day.illumination_percent,
        sign=day.sign,
        sign_glyph=SIGN_GLYPHS[day.sign],
    )


def transit(aspect: TransitAspect) -> page.Transit:
    """Return one aspect for the line under a day's heading."""
    return page.Transit(
        transiting=_GLYPHS[aspect.transiting],
        aspect=aspect.kind,
        natal=_GLYPHS[aspect.natal],
        orb=f"{aspect.exact_at:%H:%M}" if aspect.exact_at else f"{aspect.orb_degrees:.1f}°",
    )


def _born(chart: NatalChart) -> str:
    day = long_date(chart.born_local.date())
    if not chart.time_known:
        return f"{day}, time unknown"
    minutes = round(chart.utc_offset_seconds / 60)
    sign = "−" if minutes < 0 else "+"
    hours, rest = divmod(abs(minutes), 60)
    offset = f"{sign}{hours}" + (f":{rest:02d}" if rest else "") if minutes else ""
    return f"{day}, {chart.born_local:%H:%M} (UTC{offset})"


def _row(position: Position) -> page.NatalRow:
    return page.NatalRow(
        glyph=_GLYPHS[position.body],
        name=position.body,
        sign_glyph=SIGN_GLYPHS[position.sign],
        sign=position.sign,
        position=degrees(position.degree_in_sign),
        house=str(position.house or ""),
        retrograde=position.retrograde,
    )


def _angle(longitude: float | None) -> str | None:
    if longitude is None:
        return None
    return f"{SIGN_GLYPHS[sign_of(longitude)]} {degrees(longitude % 30)}"


def _moon_age(chart: NatalChart) -> float:
    sun = chart.position(Body.SUN).longitude_degrees
    return round((chart.position(Body.MOON).longitude_degrees - sun) % 360 / 360, 4) % 1


def _number(place: str, value: int, numbers: Numbers) -> page.NumerologyNumber:
    told = _texts()["numbers"][str(value)]
    return page.NumerologyNumber(
        name=_PLACES[place],
        value=str(value),
        keyword=told["keyword"],
        text=f"{_texts()['places'][place].format(year=numbers.year)} {told['text']}",
    )


def _swatches(colours: LuckyColours) -> tuple[page.LuckyColour, ...]:
    chosen = (colours.primary, colours.secondary, colours.accent)
    return tuple(page.LuckyColour(name=each.name.capitalize(), rgb=each.hex) for each in chosen)


def _houses(chart: NatalChart) -> str:
    if chart.house_system is None:
        return "The time of birth is unknown, so there are no houses and no Ascendant."
    return f"Houses: {chart.house_system}."


@cache
def _texts() -> dict[str, Any]:
    return tomllib.loads((PROMPTS / "numbers.toml").read_text(encoding="utf-8"))
