"""Limits as people type them."""

from collections.abc import Callable
from decimal import InvalidOperation
from typing import Any

import typer


def limit_of(text: str, convert: Callable[[str], Any], option: str) -> Any:
    """Return the number that was given for a limit, or None for "none".

    Raises:
        typer.BadParameter: It is neither.
    """
    if text.strip().lower() == "none":
        return None
    try:
        limit = convert(text.strip().lstrip("$").replace("_", "").replace(",", ""))
    except (ValueError, InvalidOperation):
        limit = -1
    if not 0 <= limit < 10**12:
        raise typer.BadParameter(
            f"{text!r} is not a limit; give a number or 'none'", param_hint=f"'{option}'"
        )
    return limit
