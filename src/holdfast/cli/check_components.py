"""The parts that reports are made with: are they installed, and do they work?"""

from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata
from typing import TYPE_CHECKING

from holdfast.cli.finding import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

_AREA = "reports"
_INSTALL = "install 'holdfast[reports]'"


def components() -> list[Finding]:
    """Return a finding for each component; takes a second or two, so call it in a thread."""
    return [_probe(name, probe) for name, probe in _PROBES]


def _probe(name: str, probe: Callable[[], tuple[Verdict, str, str]]) -> Finding:
    try:
        return Finding(_AREA, name, *probe())
    except ImportError as error:
        return Finding(_AREA, name, "problem", f"not installed: {error.name or error}", _INSTALL)
    except Exception as error:  # noqa: BLE001 - a component may fail in its own way
        return Finding(
            _AREA, name, "problem", f"does not work: {type(error).__name__}: {error}", _INSTALL
        )


def _installed(module: str, distribution: str) -> tuple[Verdict, str, str]:
    importlib.import_module(module)
    return "ok", metadata.version(distribution), ""


def _typst() -> tuple[Verdict, str, str]:
    return _installed("typst", "typst")


def _pikepdf() -> tuple[Verdict, str, str]:
    return _installed("pikepdf", "pikepdf")


def _fonts() -> tuple[Verdict, str, str]:
    from holdfast.apps.reports.render.glyphs import plan_glyphs

    if plan_glyphs("Ada Łukasz Ωμέγα Дмитрий 0123").missing:
        return "problem", "the bundled fonts are damaged", _INSTALL
    if plan_glyphs("星野愛").missing:
        return (
            "warning",
            "bundled ones work; none for rare Chinese and Japanese letters",
            "install one if needed (Debian: fonts-noto-cjk)",
        )
    return "ok", "for European and East Asian names", ""


def _agents() -> tuple[Verdict, str, str]:
    # Not imported: that alone takes seconds.
    if importlib.util.find_spec("agents") is None:
        return "problem", "not installed: life_clarity cannot be written", "install 'holdfast[agents]'"
    return "ok", metadata.version("openai-agents"), ""


def _ephemeris() -> tuple[Verdict, str, str]:
    from datetime import date, time

    from holdfast.apps.reports.astro import BirthData, natal_chart

    chart = natal_chart(
        BirthData(name="A", birth_date=date(2000, 1, 1), birth_time=time(12), place="Greenwich, England")
    )
    return "ok", f"Sun in {chart.positions[0].sign} on 2000-01-01, as it should be", ""


def _places() -> tuple[Verdict, str, str]:
    from holdfast.apps.reports.astro.places import resolve_place

    return "ok", f"{resolve_place('Lisbon').label} found", ""


_PROBES: tuple[tuple[str, Callable[[], tuple[Verdict, str, str]]], ...] = (
    ("Typst", _typst),
    ("pikepdf", _pikepdf),
    ("Agents SDK", _agents),
    ("fonts", _fonts),
    ("ephemeris", _ephemeris),
    ("cities", _places),
)
