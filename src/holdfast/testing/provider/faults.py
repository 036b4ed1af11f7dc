"""What can go wrong at a provider, and when it does: on order, by script, or by chance."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """One way to fail."""

    RATE_LIMIT = "rate_limit"
    """429 `rate_limit_exceeded`; with Retry-After when `retry_after_seconds` is set."""
    QUOTA = "quota"
    """429 `insufficient_quota` (or `code`)."""
    UNAUTHORIZED = "unauthorized"
    """401 `invalid_api_key`, whose text quotes the key as the real one does."""
    SERVER_ERROR = "server_error"
    """5xx (`status`, 500 by default)."""
    BAD_REQUEST = "bad_request"
    """400 with `code`, whose text quotes the prompt."""
    HANG = "hang"
    """No answer until the client goes away."""
    RESET = "reset"
    """The connection is reset instead of an answer."""
    CUT_STREAM = "cut_stream"
    """The connection is reset in the middle of the answer."""
    SILENT_CUT = "silent_cut"
    """A stream ends cleanly in the middle, without finish reason or [DONE]."""
    MALFORMED_JSON = "malformed_json"
    """A body (or stream chunk) that is not JSON."""
    BROKEN_OUTPUT = "broken_output"
    """A good completion whose text is half of the JSON asked for."""
    WRONG_SCHEMA = "wrong_schema"
    """A good completion whose text is JSON of another shape."""
    TRUNCATED = "truncated"
    """Half of the text and `finish_reason` `length`."""
    REFUSAL = "refusal"
    """The model refuses."""
    CONTENT_FILTER = "content_filter"
    """`finish_reason` `content_filter`."""
    EMPTY = "empty"
    """200 with an error object instead of a completion, as gateways do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An order to fail."""

    kind: FaultKind
    times: int = 1
    """How many calls it meets."""
    match: str = ""
    """Only calls whose tag or prompt contains this."""
    status: int = 500
    code: str | None = None
    retry_after_seconds: float | None = None
    after_tokens: int = 8
    """For cut streams: tokens sent before."""

    @classmethod
    def parse(cls, value: dict[str, Any]) -> Fault:
        """Read the JSON form.

        Raises:
            ValueError: An unknown kind or field.
        """
        known = {each.name for each in fields(cls)}
        if not set(value) <= known:
            raise ValueError(f"unknown fields {sorted(set(value) - known)!r}; known: {sorted(known)!r}")
        return cls(**{**value, "kind": FaultKind(value.get("kind", ""))})


class FaultPlan:
    """Decides for each call whether and how it fails."""

    def __init__(
        self,
        *,
        script: dict[int, Fault] | None = None,
        chances: dict[FaultKind, float] | None = None,
        seed: int = 0,
    ) -> None:
        """Lay down the plan.

        Args:
            script: Fault by call number, from 1.
            chances: Probability of each kind, drawn per call.
            seed: Of the draws.
        """
        self._script = dict(script or {})
        self._chances = dict(chances or {})
        self._random = random.Random(seed)
        self._ordered: list[Fault] = []

    def order(self, *faults: Fault) -> None:
        """Have the next matching calls fail, in this order."""
        self._ordered.extend(faults)

    def clear(self) -> None:
        """Forget all orders, script and chances."""
        self._ordered.clear()
        self._script.clear()
        self._chances.clear()

    @property
    def pending(self) -> int:
        """How many ordered failures have not happened yet."""
        return sum(fault.times for fault in self._ordered)

    def draw(self, number: int, *, tag: str, prompt: str) -> Fault | None:
        """Return the fault of the call with this number, from 1."""
        for index, fault in enumerate(self._ordered):
            if fault.match in tag or fault.match in prompt:
                if fault.times > 1:
                    self._ordered[index] = replace(fault, times=fault.times - 1)
                else:
                    del self._ordered[index]
                return fault
        if number in self._script:
            return self._script[number]
        for kind, chance in self._chances.items():
            if self._random.random() < chance:
                return Fault(kind=kind)
        return None
