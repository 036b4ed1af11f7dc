"""The ledger around a call: its upper bound before, what it used after."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Protocol, TypeVar

from holdfast.errors import StoreFullError, StoreUnavailableError
from holdfast.llm.providers.base import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from holdfast.clock import Clock
    from holdfast.model import Lease
    from holdfast.store.base import CallIntent, CallOutcome

T = TypeVar("T")

logger = logging.getLogger(__name__)

STORE_TROUBLE = (StoreUnavailableError, StoreFullError)
"""What passes: it must not cost an answer that was paid for."""

SETTLE_TRIES = 3
"""Times a booking is tried while the store is away, before the call is left uncertain."""

SETTLE_WAIT_SECONDS = 0.5
"""Wait between those tries."""

UNBROKEN_SECONDS_MAX = 5.0
"""How long a cancelled call may still take to be booked."""


class Ledger(Protocol):
    """Where calls are reserved and booked; `holdfast.store.base.Store` is one."""

    async def reserve_call(self, lease: Lease, intent: CallIntent) -> None:
        """Write the intent and reserve its cost; see `Store.reserve_call`."""
        ...

    async def settle_call(self, lease: Lease, call_id: str, outcome: CallOutcome) -> None:
        """Book what a call has used; see `Store.settle_call`."""
        ...


def upper_bound(*, input_tokens: int, max_output_tokens: int) -> TokenUsage:
    """Return the most a call is expected to use: whole prompt uncached, output to its limit."""
    return TokenUsage(input_tokens=input_tokens, output_tokens=max_output_tokens)


async def book(ledger: Ledger, lease: Lease, call_id: str, outcome: CallOutcome, clock: Clock) -> None:
    """Settle a call; a store that stays away leaves it reserved, to become uncertain.

    An answer that was paid for is worth more than its booking, so this raises neither
    `StoreUnavailableError` nor `StoreFullError`.

    Raises:
        LeaseLost: The attempt no longer owns the job.
    """
    tries = 0
    while True:
        try:
            return await ledger.settle_call(lease, call_id, outcome)
        except STORE_TROUBLE:
            tries += 1
            if tries == SETTLE_TRIES:
                fields = {"job_id": lease.job_id, "call_id": call_id}
                logger.warning("call left unbooked", extra=fields)
                return None
        await clock.sleep(SETTLE_WAIT_SECONDS)


async def unbroken(work: Coroutine[object, object, T]) -> T:
    """Await `work` to its end even if the caller is cancelled, then let the cancel go on.

    Work that takes longer than `UNBROKEN_SECONDS_MAX` after the cancel is cancelled, too.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _wait_stubbornly(task)
        if not task.done():
            task.cancel()
        elif not task.cancelled() and task.exception() is not None:
            logger.warning(
                "booking failed after a cancel", extra={"error": type(task.exception()).__name__}
            )
        raise


async def _wait_stubbornly(task: asyncio.Future[T]) -> None:
    """Wait for a task, but not for ever; to be cancelled again changes nothing.

    The end of an attempt cancels its branches, and those still at it once more.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + UNBROKEN_SECONDS_MAX
    while not task.done() and loop.time() < until:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task}, timeout=until - loop.time())
