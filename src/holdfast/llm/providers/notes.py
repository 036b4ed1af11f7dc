"""Limits of a text's length, in words: strict schemas cannot say them otherwise."""

from __future__ import annotations

import re

_NOTE = re.compile(r"Length: (\d+) to (\d+|any number of) characters\.")


def length_note(least: int, most: int | None) -> str:
    """Return the sentence to put into a description."""
    return f"Length: {least} to {'any number of' if most is None else most} characters."


def read_length_note(description: str) -> tuple[int, int | None]:
    """Return the limits that a description names: least, and most or None."""
    found = _NOTE.search(description)
    if found is None:
        return 0, None
    return int(found[1]), int(found[2]) if found[2].isdigit() else None
