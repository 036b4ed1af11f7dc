"""From what a person typed to a job's input, with errors that say what to type instead."""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from typing import Any

from pydantic import ValidationError

from holdfast.apps.reports.astro import AstroError, BirthData, natal_chart
from holdfast.apps.reports.astro.ephemeris import require_covered
from holdfast.apps.reports.astro.precompute import with_resolved_place
from holdfast.apps.reports.models import DAYS, ReportRequest, WritingOptions
from holdfast.codec import describe_invalid
from holdfast.errors import InvalidInputError

_BORN = re.compile(r"(?P<day>\d{4}-\d{2}-\d{2})(?:[T ]+(?P<time>\d{1,2}:\d{2}))?")
_SUGGESTIONS_SHOWN = 6
_COVERED_AHEAD = timedelta(days=DAYS + 31)
"""The sky is computed to the end of the last month."""


def report_request(
    *, name: str, born: str, place: str, start: str | date, **options: Any
) -> ReportRequest:
    """Build the input of a report job.

    The place is resolved and the chart is cast once for a check, so that everything that can be
    wrong with the birth data is told before a job exists.

    Args:
        name: The name on the cover.
        born: `1990-03-14`, or `1990-03-14 07:25` with the local wall-clock time if it is known.
        place: `Lisbon`, `Paris, Texas`, or coordinates `38.7, -9.1`.
        start: First day of the report.
        **options: Fields of `WritingOptions`.

    Raises:
        InvalidInputError: A value is unusable; the message says which and what to give instead.
    """
    try:
        birth_date, birth_time = parse_birth(born)
        first_day = start if isinstance(start, date) else _parse_date(start, "start")
        typed = BirthData(name=name, birth_date=birth_date, birth_time=birth_time, place=place)
        birth = with_resolved_place(typed)
        require_covered(first_day)
        require_covered(first_day + _COVERED_AHEAD)
        natal_chart(birth, not_after=first_day)
        return ReportRequest(birth=birth, start=first_day, options=WritingOptions(**options))
    except AstroError as error:
        raise InvalidInputError(str(error), hint=_suggested(error)) from None
    except ValidationError as error:
        raise InvalidInputError(f"report request cannot be used: {describe_invalid(error)}") from None


def parse_birth(born: str) -> tuple[date, time | None]:
    """Read a birth date with or without a time.

    Raises:
        InvalidInputError: It is neither.
    """
    match = _BORN.fullmatch(born.strip())
    if match is None:
        raise InvalidInputError(
            f"birth {born!r} is not a date with or without a time",
            hint="write '1990-03-14', or '1990-03-14 07:25' if the time is known",
        )
    clock = None
    if match["time"] is not None:
        try:
            clock = time.fromisoformat(match["time"].zfill(5))
        except ValueError:
            raise InvalidInputError(
                f"birth time {match['time']!r} is not on a clock",
                hint="write hours and minutes, '07:25'",
            ) from None
    return _parse_date(match["day"], "birth"), clock


def _parse_date(text: str, what: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInputError(
            f"{what} date {text!r} is not in the calendar", hint="write year-month-day, '2026-05-20'"
        ) from None


def _suggested(error: AstroError) -> str:
    found: tuple[str, ...] = getattr(error, "suggestions", ())
    missing = [each for each in found[:_SUGGESTIONS_SHOWN] if each not in str(error)]
    return "also possible: " + " · ".join(map(repr, missing)) if missing else ""
