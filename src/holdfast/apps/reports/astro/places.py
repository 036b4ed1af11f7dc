"""From what a buyer types to a point on Earth and its time zone, offline.

Understood are a name in any script ('Lisbon', '東京', 'München'), a name with a region or country
behind a comma or without one ('Paris, Texas', 'Paris Texas', 'Springfield, US-IL'), and
coordinates ('38.72, -9.14' or '38.72 N, 9.14 W').

Towns come from GeoNames (CC BY 4.0, see `gazetteer`). The time zone of bare coordinates comes
from `timezonefinder`, whose boundaries are © OpenStreetMap contributors (ODbL 1.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, NoReturn

from holdfast.apps.reports.astro.errors import AmbiguousPlaceError, PlaceNotFoundError
from holdfast.apps.reports.astro.folding import fold_name
from holdfast.apps.reports.astro.gazetteer import CITIES, TOWNS, City, load_gazetteer
from holdfast.apps.reports.astro.models import Place
from holdfast.apps.reports.astro.regions import Area, areas_named, country_name, region_name

DOMINANCE: Final = 5
"""A place wins over its namesakes if it has this many times the people of the next one.

Asking costs the buyer a click; a wrong guess costs a wrong book."""

ALIAS_WEIGHT: Final = 0.1
"""What people count for under another name: Amman was Philadelphia, and Dayton is called Venice."""

QUERY_LENGTH_MAX: Final = 200
SUGGESTIONS_MAX: Final = 6

_SEPARATORS: Final = re.compile(r"[,;|/()\[\]，、،；（）\n\t]+")
_COORDINATES: Final = re.compile(
    r"([+-]?\d{1,2}(?:\.\d+)?)\s*°?\s*([NSns]?)\s*[,; ]\s*"
    r"([+-]?\d{1,3}(?:\.\d+)?)\s*°?\s*([EWew]?)"
)
_FORM_HINT: Final = "type 'town, country', or coordinates such as '38.72, -9.14'"


class _Reading(NamedTuple):
    """One way to read the query: a name and what must hold for the place."""

    name: str
    qualifiers: tuple[frozenset[Area], ...]


class _Candidate(NamedTuple):
    """A place that the query may mean."""

    weight: float
    """People, times `ALIAS_WEIGHT` if the name typed is not the usual one."""
    city: City


def resolve_place(query: str) -> Place:
    """Find the one place that a query means.

    Towns of one name in the same region count as one, the largest. Between regions the largest
    wins only with `DOMINANCE` times the people of the next; other names than the usual one count
    less. The first call reads the cities (a second), the first unknown one the towns (some
    seconds): call it in a thread from a server.

    Args:
        query: Up to `QUERY_LENGTH_MAX` characters.

    Raises:
        PlaceNotFoundError: No such place, or a qualifier that is no known region or country.
        AmbiguousPlaceError: Several places are plausible; each suggestion resolves to one.
    """
    query = query.strip()
    if len(query) > QUERY_LENGTH_MAX:
        message = f"a place of {len(query)} characters is longer than {QUERY_LENGTH_MAX}"
        raise PlaceNotFoundError(message, hint=_FORM_HINT)
    coordinates = _COORDINATES.fullmatch(query)
    if coordinates:
        return _at_coordinates(query, coordinates)

    candidates = _candidates(query)
    if not candidates:
        _raise_not_found(query)
    city = _dominant(candidates)
    if city is None:
        _raise_ambiguous(query, candidates)
    return _place(city)


def _candidates(query: str) -> list[_Candidate]:
    """Return what the query may mean, best first: one place a region, from the first tier."""
    readings = tuple(_readings(query))
    for tier in (CITIES, TOWNS):
        for reading in readings:
            cities = (
                city
                for city in load_gazetteer(tier).named(reading.name)
                if all(_within(city, areas) for areas in reading.qualifiers)
            )
            candidates = _best_by_region(reading.name, cities)
            if candidates:
                return candidates
    return []


def _readings(query: str) -> Iterator[_Reading]:
    """Yield the ways to read a query, the most literal first."""
    parts = _parts(query)
    if not parts:
        return
    name, *rest = parts
    if rest:
        yield _Reading(query, ())  # 'Frankfurt (Oder)' is a name in full
    areas = tuple(areas_named(part) for part in rest)
    known = tuple(found for found in areas if found)
    # 'Munich, Upper Bavaria, Germany': a country is enough to pass over a part we do not know.
    if rest and not known:
        return
    yield _Reading(name, known)
    words = name.split()
    for length in range(len(words) - 1, 0, -1):
        found = areas_named(" ".join(words[length:]))
        if found:
            yield _Reading(" ".join(words[:length]), (found, *known))


def _parts(query: str) -> list[str]:
    return [part.strip() for part in _SEPARATORS.split(query) if fold_name(part)]


def _within(city: City, areas: frozenset[Area]) -> bool:
    return any(city.country == area.country and area.region in (None, city.region) for area in areas)


def _best_by_region(name: str, cities: Iterable[City]) -> list[_Candidate]:
    """Weigh the places and keep the first of each region, best first."""
    folded = fold_name(name)
    weighed = [
        _Candidate(city.population * (1 if fold_name(city.name) == folded else ALIAS_WEIGHT), city)
        for city in cities
    ]
    best: dict[Area, _Candidate] = {}
    for candidate in sorted(weighed, key=lambda candidate: -candidate.weight):
        best.setdefault(Area(candidate.city.country, candidate.city.region), candidate)
    return list(best.values())


def _dominant(candidates: list[_Candidate]) -> City | None:
    """Return the place that is meant beyond reasonable doubt, if there is one."""
    first, *others = candidates
    if not others or first.weight >= DOMINANCE * max(others[0].weight, 1):
        return first.city
    return None


def _raise_ambiguous(query: str, candidates: list[_Candidate]) -> NoReturn:
    suggestions = _suggestions([candidate.city for candidate in candidates])
    message = f"place {query!r} is ambiguous: {len(candidates)} places have that name"
    hint = f"choose one, such as {suggestions[0]!r}"
    raise AmbiguousPlaceError(message, hint=hint, suggestions=suggestions)


def _raise_not_found(query: str) -> NoReturn:
    """Say which part is unknown and what it may have meant."""
    name, *rest = _parts(query) or [query]
    unknown = [part for part in rest if not areas_named(part)]
    cities = load_gazetteer(CITIES)
    same_name = [candidate.city for candidate in _best_by_region(name, cities.named(name))]
    suggestions = _suggestions(same_name or cities.similar(name, count=SUGGESTIONS_MAX))
    cause = "no place of that name is known"
    if rest and len(unknown) == len(rest):
        cause = f"{unknown[0]!r} is no region or country we know by name"
    elif rest and same_name:
        cause = f"there is no {name!r} there"
    elif not rest and areas_named(name):
        cause = "that is a country or region, not a town"
        suggestions = ()
    hint = f"did you mean {suggestions[0]!r}?" if suggestions else _FORM_HINT
    message = f"place {query!r} was not found: {cause}"
    raise PlaceNotFoundError(message, hint=hint, suggestions=suggestions)


def _suggestions(cities: list[City]) -> tuple[str, ...]:
    """Return queries that each resolve to one of the cities."""
    return tuple(dict.fromkeys(_query_for(city) for city in cities[:SUGGESTIONS_MAX]))


def _query_for(city: City) -> str:
    """Return a query that finds the place again, with a region code only if it must."""
    country = country_name(city.country)
    region = region_name(city.country, city.region)
    if region is None:
        short = f"{city.name}, {country}"
        found = _candidates(short)
        if found and _dominant(found) == city:
            return short
        region = f"{city.country}-{city.region}"
    return f"{city.name}, {region}, {country}"


def _place(city: City) -> Place:
    return Place(
        name=city.name,
        region=region_name(city.country, city.region),
        country=country_name(city.country),
        latitude=city.latitude,
        longitude=city.longitude,
        timezone=city.timezone,
    )


def _timezone_at(latitude: float, longitude: float) -> str | None:
    from timezonefinder import TimezoneFinder

    # Opened for each look-up: it takes milliseconds, is rare, and keeps no files open.
    with TimezoneFinder() as finder:
        return finder.timezone_at(lat=latitude, lng=longitude)


def _at_coordinates(query: str, match: re.Match[str]) -> Place:
    latitude = float(match[1]) * (-1 if match[2].upper() == "S" else 1)
    longitude = float(match[3]) * (-1 if match[4].upper() == "W" else 1)
    zone = None
    if abs(latitude) <= 90 and abs(longitude) <= 180:
        zone = _timezone_at(latitude, longitude)
    if zone is None:
        message = f"coordinates {query!r} are no point on Earth"
        raise PlaceNotFoundError(message, hint="give latitude -90 to 90, longitude -180 to 180")
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return Place(
        name=f"{abs(latitude):.2f}° {north}, {abs(longitude):.2f}° {east}",
        latitude=latitude,
        longitude=longitude,
        timezone=zone,
    )
