"""What is loaded once for a whole process, however many threads ask for it at the same time."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Loaded = TypeVar("Loaded")


def loaded_once(load: Callable[Given, Loaded]) -> Callable[Given, Loaded]:
    """Return a function that keeps what `load` gives, as `functools.cache` does.

    Unlike there, who asks while it is being loaded waits, instead of loading it as well: eight customers
    who come to a service that has just started would take eight times as long, each of them.
    """
    kept = functools.cache(load)
    lock = threading.RLock()

    @functools.wraps(load)
    def find(*args: Given.args, **kwargs: Given.kwargs) -> Loaded:
        with lock:
            return kept(*args, **kwargs)  # type: ignore[arg-type]

    return find
