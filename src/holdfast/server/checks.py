"""What has to answer for the service to be of use, asked for often and looked at seldom."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from holdfast.clock import Clock

logger = logging.getLogger(__name__)

Verdict = Literal["ok", "warning", "failing"]

PATIENCE_SECONDS = 2.0
"""How long each check may take; they run at the same time."""

KEPT_SECONDS = 1.0
"""How long a finding is good for at least: probes of many load balancers cost no more than one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; for anybody to read, so it names neither hosts nor jobs."""

    verdict: Verdict = "ok"
    told: str = ""


class Check(NamedTuple):
    """How something is looked at."""

    look: Callable[[], Coroutine[Any, Any, Finding]]
    kept_seconds: float = KEPT_SECONDS
    """How long a good finding is kept; any other is looked at again after `KEPT_SECONDS`."""


class Checks:
    """Runs the checks of one service, each at most once at a time, and remembers what they found."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Finding, float]] = {}
        self._running: dict[str, asyncio.Task[Finding]] = {}

    async def run(self, checks: Mapping[str, Check], clock: Clock) -> dict[str, Finding]:
        """Return what each of these finds, or has found a moment ago."""
        found = await asyncio.gather(*(self._find(name, checks[name], clock) for name in checks))
        return dict(zip(checks, found, strict=True))

    async def close(self) -> None:
        """Give up checks that have not come to an end."""
        for running in self._running.values():
            running.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _find(self, name: str, check: Check, clock: Clock) -> Finding:
        now = clock.monotonic()
        known, good_until = self._found.get(name, (None, 0.0))
        if known is not None and now < good_until:
            return known
        # One that hangs is not started anew by every probe; it belongs to none of them.
        running = self._running.get(name)
        if running is None:
            running = self._running[name] = asyncio.create_task(_look(check), context=Context())
        await asyncio.wait((running,), timeout=PATIENCE_SECONDS)
        if running.done():
            self._running.pop(name, None)
            found = running.result()
        else:
            found = Finding("failing", f"no answer within {PATIENCE_SECONDS:g} s")
        kept = check.kept_seconds if found.verdict == "ok" else KEPT_SECONDS
        self._found[name] = (found, clock.monotonic() + kept)
        if known is not None and known.verdict != found.verdict:
            level = logging.INFO if found.verdict == "ok" else logging.WARNING
            logger.log(level, "readiness changed", extra={"check": name, "verdict": found.verdict})
        return found


async def _look(check: Check) -> Finding:
    try:
        return await check.look()
    except (HoldfastError, TimeoutError) as error:
        # Its message may name a host; the log of whoever works with it has that.
        return Finding("failing", getattr(error, "code", "no answer"))
    except Exception as error:
        logger.exception("check failed")
        return Finding("failing", type(error).__name__)
