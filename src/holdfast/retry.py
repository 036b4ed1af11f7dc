"""Whether and when to try again: pure functions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.model import RetryPolicy

_TRANSIENT_STATUS = frozenset({408, 409, 425, 429})
_RETRY_AFTER_MAX = timedelta(days=1)


def is_transient(error: BaseException, policy: RetryPolicy) -> bool:
    """Tell whether trying again may help.

    An error says so itself by a `transient` attribute; an error that carries an HTTP status
    (`status_code`) is transient for 408, 409, 425, 429 and 5xx; timeouts, lost connections and
    the classes of `policy.retry_on` are transient; everything else is permanent.
    """
    if isinstance(error, policy.retry_on):
        return True
    declared = getattr(error, "transient", None)
    if isinstance(declared, bool):
        return declared
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status in _TRANSIENT_STATUS or status >= 500
    return isinstance(error, (TimeoutError, ConnectionError))


def is_malformed(error: BaseException) -> bool:
    """Tell whether the failure is malformed model output, which has a limit of its own."""
    return getattr(error, "malformed", False) is True


def next_wait(
    policy: RetryPolicy, error: BaseException, *, tries: int, malformed_tries: int, spread: float
) -> timedelta | None:
    """Return how long to wait before the next try, or None when there is none.

    Args:
        policy: The step's policy.
        error: What the last try raised.
        tries: Tries so far, at least 1.
        malformed_tries: How many of them ended in malformed output.
        spread: A random number in [0, 1) that places the wait within its jitter range.

    The provider's own Retry-After wins over the formula, up to a day; over given waits only if it is
    longer: tries spread over days must not be used up within seconds.
    """
    if not is_transient(error, policy) or tries >= policy.attempts:
        return None
    if is_malformed(error) and malformed_tries >= policy.malformed_attempts:
        return None
    asked = getattr(error, "retry_after", None)
    after = min(max(asked, timedelta()), _RETRY_AFTER_MAX) if isinstance(asked, timedelta) else None
    if after is not None and not policy.waits_seconds:
        return after
    wait = _wait_of(policy, tries)
    if policy.jitter:
        wait *= 0.5 + spread / 2
    return max(timedelta(seconds=wait), after or timedelta())


def _wait_of(policy: RetryPolicy, tries: int) -> float:
    if policy.waits_seconds:
        return policy.waits_seconds[min(tries, len(policy.waits_seconds)) - 1]
    return min(policy.cap_seconds, policy.base_seconds * 2.0 ** min(tries - 1, 60))
