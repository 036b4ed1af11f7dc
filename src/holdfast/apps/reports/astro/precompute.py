"""Everything a report needs before the first model call, as one pure function.

The result depends on the arguments, the ephemeris and the time zone files alone, so it may be
cached under `birth_digest`.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Final

from holdfast.apps.reports.astro.chart import natal_chart
from holdfast.apps.reports.astro.colours import monthly_colours
from holdfast.apps.reports.astro.models import (
    AstroModel,
    BirthData,
    LuckyColours,
    NatalChart,
    Numerology,
)
from holdfast.apps.reports.astro.numerology import numerology
from holdfast.apps.reports.astro.places import resolve_place
from holdfast.apps.reports.astro.transit_models import YearTransits
from holdfast.apps.reports.astro.transits import year_transits

PRECOMPUTE_VERSION: Final = 1
"""Part of the digest; raise it when the same birth data gives other values than before."""


class Precomputed(AstroModel):
    """The facts that all texts of a report are written from."""

    birth: BirthData
    """As given, with the place resolved."""
    start: date
    """First day of the report."""
    chart: NatalChart
    """The sky at birth."""
    numerology: Numerology
    """Numbers of the person; the personal year is that of `start`."""
    transits: YearTransits
    """365 days of sky from `start` on."""
    colours: tuple[LuckyColours, ...]
    """One entry for each calendar month that the 365 days touch."""


def precompute(birth: BirthData, start: date) -> Precomputed:
    """Compute the facts of a report; the same arguments give the same result.

    Args:
        birth: The birth; a place given as text is resolved offline.
        start: First day of the report, UTC. A birth after it is an error.

    Raises:
        AstroError: The birth data or the start date is unusable; see `errors` for the kinds.
    """
    birth = with_resolved_place(birth)
    chart = natal_chart(birth, not_after=start)
    transits = year_transits(chart, start)
    return Precomputed(
        birth=birth,
        start=start,
        chart=chart,
        numerology=numerology(birth.name, birth.birth_date, start.year),
        transits=transits,
        colours=monthly_colours(chart, birth.birth_date, start, transits.days[-1].date),
    )


def birth_digest(birth: BirthData, start: date) -> str:
    """Return the SHA-256, in hex, that the result of `precompute` may be cached under.

    'Lisbon' and 'Lisbon, Portugal' give the same digest, because the place is resolved first.

    Raises:
        PlaceNotFoundError: The place is unknown.
        AmbiguousPlaceError: Several places are plausible.
    """
    canonical = json.dumps(
        {
            "version": PRECOMPUTE_VERSION,
            "birth": with_resolved_place(birth).model_dump(mode="json"),
            "start": start.isoformat(),
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def with_resolved_place(birth: BirthData) -> BirthData:
    """Return the birth with its place resolved; unchanged if it was already.

    Raises:
        PlaceNotFoundError: The place is unknown.
        AmbiguousPlaceError: Several places are plausible.
    """
    if isinstance(birth.place, str):
        return birth.model_copy(update={"place": resolve_place(birth.place)})
    return birth
