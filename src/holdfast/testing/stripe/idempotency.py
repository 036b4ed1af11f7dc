"""Idempotency keys as Stripe honours them: the first answer again, failures included."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from holdfast.testing.stripe.problems import ApiError


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request has got."""

    status: int
    body: dict[str, Any]


class Idempotency:
    """Remembers the answers to requests with a key, for as long as it lives."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[str, Answered]] = {}

    def recall(self, key: str, request: bytes) -> Answered | None:
        """Return the answer to the same request; None if the key is new.

        Raises:
            ApiError: The key belongs to another request.
        """
        if key not in self._answers:
            return None
        digest, answered = self._answers[key]
        if digest != _digest(request):
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first"
                f" used with. Try using a key other than '{key}' if you meant to execute a different"
                " request."
            )
            raise ApiError(400, message, error_type="idempotency_error")
        return answered

    def keep(self, key: str, request: bytes, answered: Answered) -> None:
        """Remember an answer for good."""
        self._answers[key] = (_digest(request), answered)


def _digest(request: bytes) -> str:
    return hashlib.sha256(request).hexdigest()
