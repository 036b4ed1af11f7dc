"""The two streams: results go to stdout, everything else to stderr. NO_COLOR is honoured by rich."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from rich.theme import Theme

from holdfast.cli.wording import printable

if TYPE_CHECKING:
    from holdfast.errors import HoldfastError

_WIDTH_ELSEWHERE = 160
"""Columns where there is no terminal to fit into."""

_THEME = Theme(
    {
        "good": "green",
        "busy": "cyan",
        "waiting": "yellow",
        "bad": "red",
        "quiet": "dim",
        "strong": "bold",
        "heading": "bold",
    }
)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # Without a terminal the width is nobody's limit; COLUMNS still counts.
    width = None if stream.isatty() else shutil.get_terminal_size((_WIDTH_ELSEWHERE, 24)).columns
    # Text from outside is never read as markup.
    return Console(stderr=stderr, width=width, theme=_THEME, markup=False, highlight=False, emoji=False)


def stdout() -> Console:
    """Return the console for results."""
    return _console(stderr=False)


def stderr() -> Console:
    """Return the console for progress, remarks and errors."""
    return _console(stderr=True)


def print_json(value: Any) -> None:
    """Write one JSON document to stdout: indented for people, one line for programs."""
    text = msgspec.json.encode(value, enc_hook=str)
    if sys.stdout.isatty():
        text = msgspec.json.format(text, indent=2)
    sys.stdout.write(text.decode() + "\n")
    sys.stdout.flush()


def print_error(message: str, hint: str = "") -> None:
    """Write what happened and what to do as one paragraph to stderr."""
    text = Text()
    text.append("error: ", style="bad")
    text.append(printable(message))
    console = stderr()
    console.print(text)
    if hint:
        console.print(Padding(Text(printable(hint)), (0, 0, 0, 7), expand=False))


def print_holdfast_error(error: HoldfastError) -> None:
    """Write an error of ours as one paragraph to stderr."""
    print_error(error.message, error.hint)
