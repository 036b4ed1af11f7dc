"""Which keys were found to be good: what a rate limit may go by before anybody looks at a key."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

GOOD_KEYS_MAX = 10_000
"""Keys that are remembered; the one that came up first is forgotten."""


class GoodKeys:
    """Keys that were found to be good, by name: only those get an allowance of their own.

    Whoever sends keys that are not good shares that of the address, however many they make up.
    """

    def __init__(self) -> None:
        self._names: OrderedDict[bytes, str] = OrderedDict()

    def remember(self, key: str, name: str) -> None:
        """Keep the name of a good key."""
        self._names[_digest(key)] = name
        if len(self._names) > GOOD_KEYS_MAX:
            self._names.popitem(last=False)

    def name_of(self, key: str) -> str | None:
        """Return the name of a key that was good when it was last looked at."""
        return self._names.get(_digest(key))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
