"""Conditional requests and ranges, as RFC 9110 has them."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})", re.IGNORECASE)


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether a client that sent `If-None-Match` has what `etag` stands for.

    Weak and strong compare equal.
    """
    if if_none_match is None:
        return False
    known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in known or etag.removeprefix("W/") in known


class UnsatisfiableRangeError(ValueError):
    """There is nothing in the range that was asked for."""


def range_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Return start and end (exclusive) of the part that a `Range` asks for; None for the whole.

    Several parts at once, and what is no range of bytes, are answered with the whole, as any server may.

    Raises:
        UnsatisfiableRangeError: None of it is there.
    """
    found = None if header is None else _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start = int(found[1])
        end = min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= end:
        raise UnsatisfiableRangeError
    return start, end
