"""From what a person typed to a job's input, with errors that say what to type instead."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
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


class InvalidReportError(InvalidInputError):
    """Something that a person typed cannot be used."""

    def __init__(
        self,
        message: str,
        *,
        field: str,
        reason: str = "invalid",
        hint: str = "",
        suggestions: tuple[str, ...] = (),
    ) -> None:
        """Say what, where, and what to type instead.

        Args:
            message: What happened to which value.
            field: The parameter of `report_request` that holds it.
            reason: What is wrong with it, in a stable word.
            hint: What to do.
            suggestions: What to type instead: each of them can be used.
        """
        super().__init__(message, hint=hint)
        self.field = field
        self.reason = reason
        self.suggestions = suggestions


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
        InvalidReportError: A value is unusable; the message says which and what to give instead.
    """
    birth_date, birth_time = parse_birth(born)
    first_day = start if isinstance(start, date) else _parse_date(start, "start")
    with _blaming("place"):
        typed = BirthData(name=name, birth_date=birth_date, birth_time=birth_time, place=place)
        birth = with_resolved_place(typed)
    with _blaming("start"):
        require_covered(first_day)
        require_covered(first_day + _COVERED_AHEAD)
    with _blaming("born"):
        natal_chart(birth, not_after=first_day)
    with _blaming("options"):
        return ReportRequest(birth=birth, start=first_day, options=WritingOptions(**options))


@contextlib.contextmanager
def _blaming(field: str) -> Iterator[None]:
    """Tell errors within as those of a field, unless they name one themselves."""
    try:
        yield
    except AstroError as error:
        raise InvalidReportError(
            str(error),
            field=field,
            reason=error.code,
            hint=_suggested(error),
            suggestions=getattr(error, "suggestions", ()),
        ) from None
    except ValidationError as error:
        named = error.errors(include_url=False, include_input=False)[0]["loc"]
        raise InvalidReportError(
            f"report request cannot be used: {describe_invalid(error)}",
            field=str(named[0]) if named else field,
        ) from None


def parse_birth(born: str) -> tuple[date, time | None]:
    """Read a birth date with or without a time.

    Raises:
        InvalidReportError: It is neither.
    """
    match = _BORN.fullmatch(born.strip())
    if match is None:
        raise InvalidReportError(
            f"birth {born!r} is not a date with or without a time",
            field="born",
            hint="write '1990-03-14', or '1990-03-14 07:25' if the time is known",
        )
    clock = None
    if match["time"] is not None:
        try:
            clock = time.fromisoformat(match["time"].zfill(5))
        except ValueError:
            raise InvalidReportError(
                f"birth time {match['time']!r} is not on a clock",
                field="born",
                hint="write hours and minutes, '07:25'",
            ) from None
    return _parse_date(match["day"], "birth"), clock


def _parse_date(text: str, what: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidReportError(
            f"{what} date {text!r} is not in the calendar",
            field="born" if what == "birth" else what,
            hint="write year-month-day, '2026-05-20'",
        ) from None


def _suggested(error: AstroError) -> str:
    found: tuple[str, ...] = getattr(error, "suggestions", ())
    missing = [each for each in found[:_SUGGESTIONS_SHOWN] if each not in str(error)]
    return "also possible: " + " · ".join(map(repr, missing)) if missing else ""
