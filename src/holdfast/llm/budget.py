"""The ledger around a call: its upper bound before, what it used after."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from typing import TYPE_CHECKING, Protocol, TypeVar

from holdfast.errors import StoreFullError, StoreUnavailableError
from holdfast.llm.providers.base import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from holdfast.model import Lease
    from holdfast.scope import StepScope
    from holdfast.store.base import CallIntent, CallOutcome

T = TypeVar("T")

logger = logging.getLogger(__name__)

STORE_TROUBLE = (StoreUnavailableError, StoreFullError)
"""What passes: it must not cost an answer that was paid for."""

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


async def book(ledger: Ledger, scope: StepScope, call_id: str, outcome: CallOutcome) -> None:
    """Settle a call; where the store has passing trouble, the attempt owes it that.

    An answer that was paid for is worth more than its booking: it goes on to its checkpoint, which
    no time limit of the step cuts off.

    Raises:
        LeaseLost: The attempt no longer owns the job.
    """
    settle = functools.partial(ledger.settle_call, scope.lease, call_id, outcome)
    try:
        await settle()
    except STORE_TROUBLE as error:
        fields = {"job_id": scope.lease.job_id, "call_id": call_id, "error": error.code}
        logger.warning("booking delayed", extra=fields)
        scope.owe(call_id, settle)


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
