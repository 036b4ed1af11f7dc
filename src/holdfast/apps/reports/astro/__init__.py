"""The sky of a birth and of a year, without a model and without the network.

`precompute` is the way in; `natal_wheel` draws the chart. Importing this package reads no
ephemeris and no list of cities; the first use does.
"""

from holdfast.apps.reports.astro.chart import natal_chart
from holdfast.apps.reports.astro.errors import (
    AmbiguousPlaceError,
    AstroError,
    DateOutOfRangeError,
    InvalidBirthError,
    PlaceNotFoundError,
)
from holdfast.apps.reports.astro.models import BirthData, NatalChart, Place
from holdfast.apps.reports.astro.places import resolve_place
from holdfast.apps.reports.astro.precompute import Precomputed, birth_digest, precompute
from holdfast.apps.reports.astro.transit_models import DayTransits, PeriodSky, YearTransits
from holdfast.apps.reports.astro.wheel import natal_wheel

__all__ = [
    "AmbiguousPlaceError",
    "AstroError",
    "BirthData",
    "DateOutOfRangeError",
    "DayTransits",
    "InvalidBirthError",
    "NatalChart",
    "PeriodSky",
    "Place",
    "PlaceNotFoundError",
    "Precomputed",
    "YearTransits",
    "birth_digest",
    "natal_chart",
    "natal_wheel",
    "precompute",
    "resolve_place",
]
