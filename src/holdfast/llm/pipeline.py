"""The way of a paid call, in one place: lane → intent → call → learn → settle."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from holdfast.errors import AccountRefusedError, HoldfastError, LeaseLost, RateLimitedError
from holdfast.llm.budget import book, unbroken, upper_bound
from holdfast.llm.call import PaidCall, error_code
from holdfast.llm.learning import LaneKeeper
from holdfast.llm.limits import Limiter
from holdfast.llm.observing import CallObserver, count_spent
from holdfast.llm.pricing import PriceTable
from holdfast.llm.providers.base import TokenUsage
from holdfast.model import CallStatus
from holdfast.store.base import CallIntent, CallOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.clock import Clock
    from holdfast.llm.budget import Ledger
    from holdfast.llm.config import LLMConfig
    from holdfast.llm.lanes import Lanes
    from holdfast.llm.providers.base import ProviderReply

logger = logging.getLogger(__name__)

WAITING_AFTER_SECONDS = 1.0
"""Waits for a lane that last longer are told in the job's events; there is no other trace of them."""


class Pipeline:
    """Takes calls through lane and ledger."""

    def __init__(self, config: LLMConfig, *, lanes: Lanes, ledger: Ledger | None, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._hold_seconds = config.hold_seconds
        self.limiter = Limiter(lanes, clock)
        self.keeper = LaneKeeper(lanes, self.limiter, clock, rate_share=config.rate_share)
        self.prices = PriceTable(clock)

    @asynccontextmanager
    async def run(self, call: PaidCall) -> AsyncIterator[None]:
        """Admit and reserve a call, let the body make it, then learn from it and book it.

        The lane comes before the intent, so that waiting calls reserve no money and the epoch is
        checked right before the request goes out. The body sets `call.reply`.
        """
        await self._admit(call)
        observer: CallObserver | None = None
        try:
            await unbroken(self._reserve(call))
            call.sent = True
            observer = CallObserver(call)
            yield
        except BaseException as error:
            if observer is not None:
                observer.end(call.used_until(error), error)
            failure = await unbroken(self._book_failure(call, error))
            if failure is error:
                raise
            raise failure from None
        observer.end(TokenUsage() if call.reply is None else call.used(call.reply))
        if call.reply is not None:
            await unbroken(self._book_answer(call, call.reply))

    async def _admit(self, call: PaidCall) -> None:
        """Wait for the lane; of a wait that takes long, tell when it begins to be and when it ends."""
        scope, began = call.scope, self._clock.monotonic()
        if scope is None:
            await self.limiter.admit(call.lane_request, flow=call.flow, weight=call.weight)
            return
        fields: dict[str, object] = {
            "key": scope.step_key,
            "step_attempt": scope.step_attempt,
            "lane": call.lane_request.lane,
        }
        loop = asyncio.get_running_loop()
        telling = loop.call_later(WAITING_AFTER_SECONDS, scope.emit, "step.waiting", fields)
        try:
            await self.limiter.admit(call.lane_request, flow=call.flow, weight=call.weight)
        finally:
            telling.cancel()
        waited = self._clock.monotonic() - began
        if waited >= WAITING_AFTER_SECONDS:
            scope.emit("step.admitted", {**fields, "wait_seconds": round(waited, 3)})

    async def _reserve(self, call: PaidCall) -> None:
        if self._ledger is None or call.scope is None:
            return
        bound = upper_bound(
            input_tokens=call.input_tokens, max_output_tokens=call.request.max_output_tokens
        )
        intent = CallIntent(
            call_id=call.request.call_id,
            step_key=call.scope.step_key,
            step_attempt=call.scope.step_attempt,
            provider=call.model.provider,
            model=call.model.model,
            reserved_tokens=bound.total_tokens,
            reserved_usd=self.prices.cost(call.model, call.provider, bound),
        )
        await self._ledger.reserve_call(call.scope.lease, intent)
        call.reserved = True

    async def _book_answer(self, call: PaidCall, reply: ProviderReply) -> None:
        used = call.used(reply)
        await self._learn(call, reply, used)
        await self._settle(call, CallStatus.SETTLED, used, None)

    async def _book_failure(self, call: PaidCall, error: BaseException) -> BaseException:
        """Correct the lane, book what is known, and return what to raise."""
        failure = error
        used = call.used_until(error)
        if isinstance(error, AccountRefusedError):
            failure = await self.keeper.park(call.model, error, self._hold_seconds)
        elif isinstance(error, RateLimitedError):
            error.retry_after = await self.keeper.refused(call.model, error.retry_after)
        elif call.reply is not None:
            await self._learn(call, call.reply, used)
        try:
            await self._settle(call, CallStatus.FAILED, used, error_code(error))
        except LeaseLost:
            if isinstance(error, HoldfastError):
                raise
            # A cancel goes on as a cancel: it is how the engine ends an attempt without a lease.
            logger.info("call left unbooked, lease lost", extra={"call_id": call.request.call_id})
        return failure

    async def _learn(self, call: PaidCall, reply: ProviderReply, used: TokenUsage) -> None:
        limit = call.request.max_output_tokens
        self.keeper.output_used(call.model, output_tokens=used.output_tokens, limit=limit)
        await self.keeper.answered(
            call.model,
            reply.limits,
            charged=round(call.lane_request.tokens),
            used_tokens=used.total_tokens,
        )

    async def _settle(
        self, call: PaidCall, status: CallStatus, used: TokenUsage, code: str | None
    ) -> None:
        usd = self.prices.cost(call.model, call.provider, used)
        count_spent(call, usd)
        if self._ledger is None or call.scope is None or not call.reserved:
            return
        outcome = CallOutcome(
            status=status,
            input_tokens=used.input_tokens,
            cached_tokens=used.cached_tokens,
            output_tokens=used.output_tokens,
            usd=usd,
            response_id=call.reply.response_id if call.reply is not None else None,
            error_code=code,
        )
        await book(self._ledger, call.scope, call.request.call_id, outcome)
