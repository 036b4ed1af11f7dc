"""The page that the figures go to: one section a figure, the others kept as they are."""

import os
import platform
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from bench.harness import Row, Table

_HEAD = """# Performance

<!-- Written by `python -m bench`; a section is replaced whenever its figure is measured. -->

Figures of this release beside those of other tools, measured in the same run on the same machine.
Ratios travel between machines, absolute times do not.
Everything again: `make bench`.
"""

_COLUMNS = ("what", "ours", "the other", "ratio", "target", "")


def machine_line() -> str:
    """Return what the figures depend on, without naming the machine."""
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; load average {load:.1f} when it began."
    )


def section(title: str, name: str, machine: str, table: Table) -> str:
    """Return the section of one figure."""
    lines = [f"## {title}", "", machine, "", *_table(table.rows), "", table.note.strip(), ""]
    return "\n".join([*lines, f"Again: `make bench ARGS={name}`", ""])


def update(path: Path, order: Mapping[str, str], written: Mapping[str, str]) -> None:
    """Write the page: new sections by title, the rest as it was, in the given order.

    Args:
        path: The page; it need not be there yet.
        order: Names of the figures with their titles.
        written: New sections by name.
    """
    kept = _sections(path.read_text(encoding="utf-8")) if path.exists() else {}
    sections = [written.get(name) or kept.get(title, "") for name, title in order.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([_HEAD, *filter(None, sections)]), encoding="utf-8")


def _sections(text: str) -> dict[str, str]:
    """Return the sections of a page by title."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {part.splitlines()[0].removeprefix("## "): part.rstrip("\n") + "\n" for part in parts}


def _table(rows: list[Row]) -> list[str]:
    head = [_line(_COLUMNS), _line(("---",) * len(_COLUMNS))]
    return head + [
        _line((row.what, row.ours, row.peer, row.ratio, row.target, row.verdict)) for row in rows
    ]


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
