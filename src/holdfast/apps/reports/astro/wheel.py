"""The natal wheel as one self-contained SVG.

Signs and planets are characters of the font 'Libertinus Serif', which Typst carries and which has
all of them; no other font, image or style sheet is needed. Longitudes run counter-clockwise with
the ascendant on the left, or the start of Aries where no ascendant is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from holdfast.apps.reports.astro.models import NatalChart, Position
from holdfast.apps.reports.astro.zodiac import SIGN_WIDTH, SIGNS, AspectKind, Body, normalize

SIGN_GLYPHS: Final = dict(zip(SIGNS, "♈♉♊♋♌♍♎♏♐♑♒♓", strict=True))
BODY_GLYPHS: Final = dict(zip(tuple(Body)[:11], "☉☽☿♀♂♃♄♅♆♇☊", strict=True))

_INK, _MUTED, _GOLD, _PAPER = "#2a2350", "#6b6390", "#b08d3c", "#fffdf6"
_RETROGRADE_INK: Final = "#b8432c"
_ELEMENT_INKS: Final = ("#c0492f", "#5b8131", "#b48a1e", "#33709f")
"""Fire, earth, air, water, in the order of the signs."""
_ASPECT_STROKES: Final = {
    AspectKind.SEXTILE: ("#33709f", "5 3.5"),
    AspectKind.TRINE: ("#33709f", ""),
    AspectKind.SQUARE: ("#c0492f", ""),
    AspectKind.OPPOSITION: ("#c0492f", "9 3"),
}
"""Colour and dashes. A conjunction is seen by the planets standing together."""

_OUTER, _ZODIAC, _SCALE, _HOUSE_OUTER, _HOUSE_INNER = 310.0, 268.0, 258.0, 172.0, 150.0
_POINTER, _GLYPH, _DEGREE, _MINUTE, _MARK = 247.0, 231.0, 210.0, 193.0, 181.0
"""Distances from the centre; the picture reaches 345 to each side."""
_GAP_DEGREES: Final = 8.6
"""Distance at which two planets with their labels do not touch."""
_ROUNDS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class _Wheel:
    """Turns longitudes into points; the first house begins on the left."""

    left: float
    """Longitude drawn on the left, degrees."""

    def point(self, longitude: float, radius: float) -> tuple[float, float]:
        angle = math.radians(180.0 + longitude - self.left)
        return radius * math.cos(angle), -radius * math.sin(angle)

    def ray(self, longitude: float, inner: float, outer: float, style: str) -> str:
        return self.line((longitude, inner), (longitude, outer), style)

    def line(self, start: tuple[float, float], end: tuple[float, float], style: str) -> str:
        """Draw between two points given as longitude and radius."""
        (x1, y1), (x2, y2) = self.point(*start), self.point(*end)
        return f'<path d="M{x1:.2f} {y1:.2f}L{x2:.2f} {y2:.2f}" {style}/>'

    def text(self, longitude: float, radius: float, content: str, size: float, ink: str) -> str:
        """Write centred on a point; a third of the size lowers the middle of the letters on it."""
        x, y = self.point(longitude, radius)
        return (
            f'<text x="{x:.2f}" y="{y + size * 0.34:.2f}" font-size="{size:g}" fill="{ink}">'
            f"{escape(content)}</text>"
        )

    def sector(self, start: float, inner: float, outer: float, style: str) -> str:
        """Draw one twelfth of a ring."""
        end = start + SIGN_WIDTH
        corners = (
            self.point(start, outer),
            self.point(end, outer),
            self.point(end, inner),
            self.point(start, inner),
        )
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = corners
        return (
            f'<path d="M{ax:.2f} {ay:.2f}A{outer:g} {outer:g} 0 0 0 {bx:.2f} {by:.2f}'
            f"L{cx:.2f} {cy:.2f}A{inner:g} {inner:g} 0 0 1 {dx:.2f} {dy:.2f}Z"
            f'" {style}/>'
        )


def natal_wheel(chart: NatalChart) -> str:
    """Draw the chart as SVG text of about 25 kB.

    Without a birth time the wheel has no houses and no axes. The same chart gives the same text.
    """
    wheel = _Wheel(0.0 if chart.ascendant is None else chart.ascendant)
    places = spread([position.longitude_degrees for position in chart.positions])
    parts = [
        *_backdrop(wheel),
        *_houses(wheel, chart),
        *_aspects(wheel, chart),
        *_axes(wheel, chart),
    ]
    for position, place in zip(chart.positions, places, strict=True):
        parts += _planet(wheel, position, place)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-345 -345 690 690" role="img" '
        'aria-labelledby="wheel-title wheel-description" '
        'font-family="\'Libertinus Serif\', serif" text-anchor="middle">'
        '<title id="wheel-title">Natal chart wheel</title>'
        f'<desc id="wheel-description">{escape(_description(chart))}</desc>'
        f"{''.join(parts)}</svg>"
    )


def spread(longitudes: list[float], *, gap: float = _GAP_DEGREES) -> list[float]:
    """Move crowded longitudes apart until neighbours are `gap` degrees from each other.

    The order around the circle stays, and each group stays around its middle. With more than
    360 / `gap` longitudes there is no solution; the result is then as even as it gets.
    """
    order = sorted(range(len(longitudes)), key=lambda index: longitudes[index])
    places = [longitudes[index] for index in order]
    count = len(places)
    for _ in range(_ROUNDS_MAX if count > 1 else 0):
        moved = False
        for index in range(count):
            following = (index + 1) % count
            turn = 360.0 if following == 0 else 0.0
            lacking = gap - (places[following] + turn - places[index])
            if lacking > 1e-3:  # far below what the eye sees
                places[index] -= lacking / 2
                places[following] += lacking / 2
                moved = True
        if not moved:
            break
    moved_to = dict(zip(order, places, strict=True))
    return [moved_to[index] % 360.0 for index in range(count)]


def _description(chart: NatalChart) -> str:
    """Say in words what the wheel shows, for readers who do not see it."""
    bodies = ", ".join(
        f"{position.body} {_degrees(position.degree_in_sign)} {position.sign}"
        + (" retrograde" if position.retrograde and position.body is not Body.NORTH_NODE else "")
        for position in chart.positions
    )
    rising = "" if chart.rising_sign is None else f"; ascendant in {chart.rising_sign}"
    return f"{bodies}{rising}."


def _degrees(degrees: float) -> str:
    # Cut, not rounded: 29°59'40" must not be shown as 30°.
    return f"{int(degrees)}°{int(degrees % 1 * 60):02d}′"


def _backdrop(wheel: _Wheel) -> Iterator[str]:
    """Yield the paper, the ring of signs and the scale of degrees."""
    yield f'<circle r="{_OUTER + 4:g}" fill="{_PAPER}" stroke="{_GOLD}" stroke-width="2"/>'
    for index, sign in enumerate(SIGNS):
        ink = _ELEMENT_INKS[index % 4]
        style = f'fill="{ink}" fill-opacity=".14" stroke="{_GOLD}" stroke-width=".8"'
        yield wheel.sector(index * SIGN_WIDTH, _ZODIAC, _OUTER, style)
        yield wheel.text((index + 0.5) * SIGN_WIDTH, 289, SIGN_GLYPHS[sign], 28, ink)
    ticks = {10: 9.0, 5: 6.5, 1: 3.5}
    scale = []
    for degree in range(360):
        length = next(length for step, length in ticks.items() if degree % step == 0)
        (x1, y1), (x2, y2) = wheel.point(degree, _ZODIAC), wheel.point(degree, _ZODIAC - length)
        scale.append(f"M{x1:.2f} {y1:.2f}L{x2:.2f} {y2:.2f}")
    yield f'<path d="{"".join(scale)}" stroke="{_INK}" stroke-width=".45"/>'
    for radius, fill in ((_SCALE, "none"), (_HOUSE_OUTER, "none"), (_HOUSE_INNER, "#ffffff")):
        yield f'<circle r="{radius:g}" fill="{fill}" stroke="{_GOLD}" stroke-width=".8"/>'


def _houses(wheel: _Wheel, chart: NatalChart) -> Iterator[str]:
    if chart.houses is None:
        return
    for index, cusp in enumerate(chart.houses):
        width = normalize(chart.houses[(index + 1) % 12] - cusp)
        style = f'stroke="{_MUTED}" stroke-width=".8" stroke-dasharray="2.5 3"'
        yield wheel.ray(cusp, _HOUSE_OUTER, _SCALE, style)
        style = f'stroke="{_GOLD}" stroke-width=".8"'
        yield wheel.ray(cusp, _HOUSE_INNER, _HOUSE_OUTER, style)
        middle = (_HOUSE_INNER + _HOUSE_OUTER) / 2
        yield wheel.text(cusp + width / 2, middle, str(index + 1), 11.5, _MUTED)


def _axes(wheel: _Wheel, chart: NatalChart) -> Iterator[str]:
    if chart.ascendant is None or chart.midheaven is None:
        return
    for label, longitude in (
        ("AC", chart.ascendant),
        ("DC", chart.ascendant + 180.0),
        ("MC", chart.midheaven),
        ("IC", chart.midheaven + 180.0),
    ):
        style = f'stroke="{_INK}" stroke-width="1.7"'
        yield wheel.ray(longitude, _HOUSE_INNER, _ZODIAC, style)
        yield wheel.ray(longitude, _OUTER + 4, _OUTER + 9, style)
        yield wheel.text(longitude, _OUTER + 20, label, 13, _INK)


def _aspects(wheel: _Wheel, chart: NatalChart) -> Iterator[str]:
    """Yield a line per aspect, wider when tighter, and the widest last, on top."""
    for aspect in reversed(chart.aspects):
        if aspect.kind not in _ASPECT_STROKES:
            continue
        ink, dashes = _ASPECT_STROKES[aspect.kind]
        width = max(0.6, 1.8 - aspect.orb_degrees * 0.17)
        style = f'stroke="{ink}" stroke-width="{width:.2f}" stroke-opacity=".85"'
        if dashes:
            style += f' stroke-dasharray="{dashes}"'
        first = chart.position(aspect.first).longitude_degrees
        second = chart.position(aspect.second).longitude_degrees
        yield wheel.line((first, _HOUSE_INNER), (second, _HOUSE_INNER), style)


def _planet(wheel: _Wheel, position: Position, place: float) -> Iterator[str]:
    """Yield a planet at its place, with a pointer to its exact longitude."""
    longitude = position.longitude_degrees
    style = f'fill="none" stroke="{_GOLD}" stroke-width="1"'
    yield wheel.line((longitude, _ZODIAC), (longitude, _SCALE), style)
    yield wheel.line((longitude, _SCALE), (place, _POINTER), style)
    x, y = wheel.point(longitude, _HOUSE_INNER)
    yield f'<circle cx="{x:.2f}" cy="{y:.2f}" r="2.4" fill="{_INK}"/>'
    # The node goes backward most of the time; marking that would say nothing.
    marked = position.retrograde and position.body is not Body.NORTH_NODE
    # Paper under the characters keeps cusps and axes from running through them.
    x, y = wheel.point(place, _GLYPH)
    yield f'<circle cx="{x:.2f}" cy="{y:.2f}" r="14" fill="{_PAPER}"/>'
    style = f'stroke="{_PAPER}" stroke-width="18"'
    yield wheel.ray(place, (_MARK if marked else _MINUTE) - 8, _GLYPH, style)
    # The font draws the circle of the Sun smaller than the other signs.
    size = 32 if position.body is Body.SUN else 27
    degrees, minutes = _degrees(position.degree_in_sign).split("°")
    yield wheel.text(place, _GLYPH, BODY_GLYPHS[position.body], size, _INK)
    yield wheel.text(place, _DEGREE, f"{degrees}°", 12.5, _INK)
    yield wheel.text(place, _MINUTE, minutes, 9.5, _MUTED)
    if marked:
        yield wheel.text(place, _MARK, "R", 9.5, _RETROGRADE_INK)
