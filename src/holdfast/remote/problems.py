"""Answers that tell of errors become the exceptions that the same call raises locally."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast import errors
from holdfast.errors import ConfigError, HoldfastError, ServiceUnavailableError

if TYPE_CHECKING:
    from holdfast.remote.address import Address

AWAY = frozenset({408, 429, 502, 503, 504})
"""What is answered where the same request may succeed later."""

UNHEARD = frozenset({408, 429})
"""Those of them that turn a request away at the door: its body has not come, or its caller comes too
often."""

_AFTER_MAX = 86_400.0
_MESSAGE_CHARACTERS_MAX = 10_000
_FIELD = re.compile(r"[a-z][a-z_]{0,40}")


def _classes() -> dict[str, type[HoldfastError]]:
    named = (getattr(errors, name) for name in errors.__all__)
    return {each.code: each for each in named if issubclass(each, HoldfastError)}


_BY_CODE = _classes()


class _Problem(msgspec.Struct):
    code: str
    detail: str = ""
    hint: str | None = ""
    details: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Problem).decode


def error_of(status: int, media_type: str, body: bytes, address: Address) -> HoldfastError:
    """Return the exception that an answer of 400 or more stands for.

    A code that this release does not know gives a `HoldfastError` with that code. What no service of
    ours has said gives `ServiceUnavailableError` where a proxy says so, and else `ConfigError`.
    """
    if media_type == "application/problem+json":
        try:
            return _restored(_decode(body))
        except msgspec.DecodeError:
            return not_ours(address, f"a problem of status {status} without a code")
    if status in AWAY:
        return ServiceUnavailableError(
            f"the service at {address} is not there: something before it answers {status}",
            hint="it may be starting; see the log of the proxy",
        )
    return not_ours(address, f"status {status}")


def not_ours(address: Address, told: str) -> ConfigError:
    """Return what to raise for an answer that no service of ours gives."""
    return ConfigError(
        f"{address} does not answer as Holdfast does, but with {told}",
        hint="check host, port and path of the URL; the service's own /health/live answers at its base",
    )


def _restored(problem: _Problem) -> HoldfastError:
    known = _BY_CODE.get(problem.code, HoldfastError)
    # Not by their constructors, which put messages together: this one is whole already.
    error = known.__new__(known)
    HoldfastError.__init__(
        error,
        problem.detail[:_MESSAGE_CHARACTERS_MAX],
        hint=(problem.hint or "")[:_MESSAGE_CHARACTERS_MAX],
    )
    if known is HoldfastError:
        vars(error)["code"] = problem.code
    for name, value in (problem.details or {}).items():
        if _FIELD.fullmatch(name) and not hasattr(HoldfastError, name) and name not in vars(error):
            vars(error)[name] = value
    return error


def seconds_after(told: str | None) -> float | None:
    """Return the seconds of a `Retry-After`; None if there is none that can be read."""
    if told is None or not told.strip().isdigit():
        # Dates are not understood on purpose: they need two clocks that agree.
        return None
    return min(float(told), _AFTER_MAX)
