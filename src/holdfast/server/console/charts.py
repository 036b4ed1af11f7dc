"""Spend over time as stacked columns, computed here and drawn as SVG by a template."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from holdfast.wording import money

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from holdfast.store.service import Spend, SpendQuery

SERIES_MAX = 6
"""Names with a colour of their own; the smaller ones are added up as others."""

HEIGHT = 200
"""Of the plot, in pixels."""

OTHERS = "others"

_LABELS_MAX = 8
_NICE = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a column; x in percent, y in pixels from the top."""

    series: int
    y: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Column:
    """What was spent within one span of time."""

    x: float
    width: float
    segments: tuple[Segment, ...]
    label: str
    """Under the axis; empty where there is no room."""
    at: datetime
    amounts: tuple[Decimal, ...]
    """By series."""

    @property
    def total(self) -> Decimal:
        """Over all series."""
        return sum(self.amounts, Decimal(0))


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns and what is needed to read them."""

    series: tuple[str, ...]
    totals: tuple[Decimal, ...]
    """By series."""
    columns: tuple[Column, ...]
    lines: tuple[tuple[float, str], ...]
    """Height of each line across the plot, and its amount in words."""


def chart_of(rows: Sequence[Spend], query: SpendQuery, unnamed: str) -> Chart:
    """Return the columns for the sums of a query; `unnamed` stands for jobs without a tenant."""
    named = [(row.at, row.name or unnamed, row.usage.usd) for row in rows]
    series, totals = _series(named)
    numbers = {name: number for number, name in enumerate(series)}
    amounts: dict[datetime, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * len(series))
    for at, name, usd in named:
        amounts[at][numbers.get(name, len(series) - 1)] += usd
    slots = list(_slots(query))
    highest = max((sum(found, Decimal(0)) for found in amounts.values()), default=Decimal(0))
    top, lines = _axis(highest)
    every = -(-len(slots) // _LABELS_MAX)
    columns = tuple(
        _column(
            (number, len(slots)),
            at,
            amounts.get(at) or [Decimal(0)] * len(series),
            series=series,
            top=top,
            label=_label(at, query.slot) if number % every == 0 else "",
        )
        for number, at in enumerate(slots)
    )
    return Chart(series=series, totals=totals, columns=columns, lines=lines)


def _series(named: list[tuple[datetime, str, Decimal]]) -> tuple[tuple[str, ...], tuple[Decimal, ...]]:
    """Return the names by what they have cost, the small ones together, with what each has cost."""
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for _, name, usd in named:
        totals[name] += usd
    ranked = sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    if len(ranked) > SERIES_MAX + 1:
        rest = sum((usd for _, usd in ranked[SERIES_MAX:]), Decimal(0))
        ranked = [*ranked[:SERIES_MAX], (OTHERS, rest)]
    return tuple(name for name, _ in ranked), tuple(usd for _, usd in ranked)


def _slots(query: SpendQuery) -> list[datetime]:
    slots, at = [], query.since
    while at < query.until:
        slots.append(at)
        at += query.slot
    return slots


def _column(
    place: tuple[int, int],
    at: datetime,
    amounts: list[Decimal],
    *,
    series: tuple[str, ...],
    top: Decimal,
    label: str,
) -> Column:
    number, count = place
    slot = 100 / count
    segments, y = [], float(HEIGHT)
    for index, usd in enumerate(amounts):
        height = float(usd / top) * HEIGHT
        if height:
            y -= height
            title = f"{series[index]}: {money(usd)}"
            segments.append(Segment(index, round(y, 2), round(max(height, 0.5), 2), title))
    return Column(
        x=round(number * slot + slot * 0.12, 3),
        width=round(slot * 0.76, 3),
        segments=tuple(segments),
        label=label,
        at=at,
        amounts=tuple(amounts),
    )


def _axis(highest: Decimal) -> tuple[Decimal, tuple[tuple[float, str], ...]]:
    """Return the amount at the top of the plot, and lines at round amounts up to it."""
    if not highest:
        return Decimal(1), ()
    magnitude = Decimal(10) ** (highest / 4).adjusted()
    step = next(
        magnitude * Decimal(str(nice)) for nice in _NICE if magnitude * Decimal(str(nice)) * 4 >= highest
    )
    top = step * 4
    return top, tuple((HEIGHT - HEIGHT * number / 4, money(step * number)) for number in range(5))


def _label(at: datetime, slot: timedelta) -> str:
    return f"{at:%H:%M}" if slot.days < 1 else f"{at.day} {at:%b}"
