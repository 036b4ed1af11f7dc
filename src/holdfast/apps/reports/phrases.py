"""The offline writer's words, and the pen that chooses among them: always the same way."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from holdfast.apps.reports.questions import PROMPTS

T = TypeVar("T")


@cache
def phrases() -> dict[str, Any]:
    """Return the phrase bank."""
    return tomllib.loads((PROMPTS / "sample.toml").read_text(encoding="utf-8"))


class Pen:
    """A sequence of choices that follows from a seed alone."""

    def __init__(self, seed: str) -> None:
        self._state = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest())

    def below(self, limit: int) -> int:
        """Return a number from 0 up to, not including, `limit`."""
        # Knuth's MMIX generator; its upper bits are the good ones.
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self._state >> 33) % limit

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self.below(len(options))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """Return all options in another order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]
