"""Ids: time-sortable ones for new things, derived ones for things that must converge.

The only module that draws random numbers.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANDOM_BITS = 80
_DERIVED_CHARACTERS = 26

_random_bytes: Callable[[int], bytes] = os.urandom
_random_fraction: Callable[[], float] = random.random
_time_ns: Callable[[], int] = time.time_ns


@contextlib.contextmanager
def determined_by(generator: random.Random, time_ns: Callable[[], int]) -> Iterator[None]:
    """Draw every id and every jitter of this process from `generator`: for simulations only."""
    global _random_bytes, _random_fraction, _time_ns
    before = _random_bytes, _random_fraction, _time_ns
    _random_bytes, _random_fraction, _time_ns = generator.randbytes, generator.random, time_ns
    try:
        yield
    finally:
        _random_bytes, _random_fraction, _time_ns = before


def _base32(number: int, length: int) -> str:
    characters = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        characters.append(_ALPHABET[digit])
    return "".join(reversed(characters))


def new_id(prefix: str) -> str:
    """Return a new id such as `job_01JD…`: 48 bits of milliseconds, then 80 random bits.

    Ids of one process sort by the millisecond they were made in (layout of a ULID).
    """
    number = (_time_ns() // 1_000_000 << _RANDOM_BITS) | int.from_bytes(_random_bytes(10))
    return f"{prefix}_{_base32(number, 26)}"


def first_id(prefix: str, at: datetime) -> str:
    """Return the lowest id that `new_id` can give at the millisecond of `at`, to compare ids with it.

    A time before 1970 or after the year 10889 counts as the first or last there is.
    """
    milliseconds = (at - _EPOCH) // timedelta(milliseconds=1)
    return f"{prefix}_{_base32(min(max(0, milliseconds), 2**48 - 1) << _RANDOM_BITS, 26)}"


def new_secret(prefix: str, characters: int = 32) -> str:
    """Return `prefix_` and random characters of 5 bits each from the machine's strong generator."""
    bits = int.from_bytes(os.urandom((characters * 5 + 7) // 8))
    return f"{prefix}_{_base32(bits, characters)}"


def new_webhook_secret() -> str:
    """Return a secret of 256 random bits as Standard Webhooks writes it: `whsec_` and base64."""
    return f"whsec_{base64.b64encode(os.urandom(32)).decode()}"


def derived_id(prefix: str, *parts: str) -> str:
    """Return the id that always belongs to `parts`: 130 bits of their SHA-256.

    Parts are length-prefixed before hashing, so `("ab", "c")` and `("a", "bc")` differ.
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8))
        digest.update(encoded)
    return f"{prefix}_{_base32(int.from_bytes(digest.digest()) >> 126, _DERIVED_CHARACTERS)}"


def child_id(parent_id: str, key: str) -> str:
    """Return the id of the job that `parent_id` spawns under `key`: the same each time.

    It begins with the parent's 48 bits of time, so that it sorts among the jobs of that time, and
    goes on with 80 bits of a hash.
    """
    time_of_parent = parent_id.removeprefix("job_")[:10]
    digest = hashlib.sha256(f"{parent_id}\n{key}".encode()).digest()
    return f"job_{time_of_parent}{_base32(int.from_bytes(digest[:10]), 16)}"


def content_hash(content: bytes) -> str:
    """Return the SHA-256 of `content` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def jitter() -> float:
    """Return a random number in [0, 1), for spreading retries; never for identity or secrets."""
    return _random_fraction()
