"""What can be wrong with the birth data a buyer typed.

```
AstroError(code, hint)            a ValueError: the caller's input is at fault
├── PlaceNotFoundError            suggestions: names that look alike
├── AmbiguousPlaceError           suggestions: queries that each name one place
├── InvalidBirthError             a local time that no clock showed, or a birth after today
└── DateOutOfRangeError           the ephemeris does not cover the date
```

Every error is raised before the first model call, so it costs nothing but a corrected form.
"""

from __future__ import annotations

from typing import ClassVar


class AstroError(ValueError):
    """Birth data or a date that cannot be turned into a chart.

    The message says what happened to which value, why, and what to do; `hint` repeats the
    last part alone, for the line under a form field.
    """

    code: ClassVar[str] = "astro_error"
    """Stable name of the error; set by each class, documented, safe to branch on."""

    def __init__(self, message: str, *, hint: str) -> None:
        """Join the message and the hint to one text.

        Args:
            message: What happened to which value, and the limit or cause.
            hint: What the buyer can do about it, as an imperative.
        """
        super().__init__(f"{message}; {hint}")
        self.hint = hint


class PlaceNotFoundError(AstroError):
    """No place of that name is known; `suggestions` may hold names that look alike."""

    code = "place_not_found"

    def __init__(self, message: str, *, hint: str, suggestions: tuple[str, ...] = ()) -> None:
        """Keep the suggestions beside the text.

        Args:
            message: What happened to which value.
            hint: What the buyer can do about it.
            suggestions: Queries that resolve, most populous first; may be empty.
        """
        super().__init__(message, hint=hint)
        self.suggestions = suggestions


class AmbiguousPlaceError(AstroError):
    """Several places share the name and none is clearly meant; pick one of `suggestions`."""

    code = "place_ambiguous"

    def __init__(self, message: str, *, hint: str, suggestions: tuple[str, ...]) -> None:
        """Keep the suggestions beside the text.

        Args:
            message: What happened to which value.
            hint: What the buyer can do about it.
            suggestions: Queries that each resolve to one place, most populous first.
        """
        super().__init__(message, hint=hint)
        self.suggestions = suggestions


class InvalidBirthError(AstroError):
    """The birth moment cannot have been: a clock-change gap, or a date still to come."""

    code = "birth_invalid"


class DateOutOfRangeError(AstroError):
    """The date lies outside the ephemeris DE421 (1899-07-30 to 2053-10-06)."""

    code = "date_out_of_range"
