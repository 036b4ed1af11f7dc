"""Pages that applications add to the console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.server.access import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """An application's part of the console, with an entry of its own in the navigation."""

    path: str
    """Where its pages are, below `/console/`."""
    word: str
    """What the navigation calls it."""
    package: str
    """Holds its templates in the folder `console_templates`; they may extend `base.html`."""
    open_to: Callable[[Mapping[type, object], Principal], bool]
    """Whether there is anything to see, given what is open and who looks; else it does not exist."""
