"""What is told of a call outside the ledger: a span and metrics, by OpenTelemetry's GenAI conventions.

Prompts and answers are in neither.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from holdfast.llm.call import error_code
from holdfast.metrics import CALL_SECONDS, SPENT_USD, TOKENS_USED
from holdfast.telemetry.traces import Kind, end_span, start_span

if TYPE_CHECKING:
    from decimal import Decimal

    from opentelemetry.trace import Span

    from holdfast.llm.call import PaidCall
    from holdfast.llm.providers.base import TokenUsage

OPERATION = "chat"
OUTSIDE = "outside"
"""Kind of the job of a call that no job makes."""


class CallObserver:
    """Watches one request to a provider, from right before it goes out until it has ended."""

    __slots__ = ("_began", "_call", "_labels", "_span")

    def __init__(self, call: PaidCall) -> None:
        """Begin; the call has been admitted and reserved."""
        self._call = call
        self._began = asyncio.get_running_loop().time()
        self._labels = (OPERATION, call.provider.name, call.model.model)
        self._span = start_span(f"{OPERATION} {call.model.model}", Kind.CLIENT)
        if self._span is not None and self._span.is_recording():
            self._span.set_attributes(_asked(call))

    def end(self, used: TokenUsage, error: BaseException | None = None) -> None:
        """Tell of the call's end; what it used is as far as is known."""
        seconds = asyncio.get_running_loop().time() - self._began
        CALL_SECONDS.labels(*self._labels, error_code(error) if error else "").observe(seconds)
        if used.total_tokens:
            TOKENS_USED.labels(*self._labels, "input").observe(used.input_tokens)
            TOKENS_USED.labels(*self._labels, "output").observe(used.output_tokens)
        if self._span is not None:
            if self._span.is_recording():
                self._answered(self._span, used)
            end_span(self._span, error)

    def _answered(self, span: Span, used: TokenUsage) -> None:
        span.set_attributes(
            {
                "gen_ai.usage.input_tokens": used.input_tokens,
                "gen_ai.usage.output_tokens": used.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": used.cached_tokens,
            }
        )
        reply = self._call.reply
        if reply is not None:
            span.set_attribute("gen_ai.response.finish_reasons", (reply.finish_reason,))
            if reply.response_id is not None:
                span.set_attribute("gen_ai.response.id", reply.response_id)


def count_spent(call: PaidCall, usd: Decimal | None) -> None:
    """Add a call's money to what jobs of its kind have spent on its model."""
    if usd:
        kind = OUTSIDE if call.scope is None else call.scope.kind
        SPENT_USD.labels(kind, call.model.model).inc(float(usd))


def _asked(call: PaidCall) -> dict[str, Any]:
    request = call.request
    asked: dict[str, Any] = {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": call.provider.name,
        "gen_ai.request.model": request.model,
        "gen_ai.request.max_tokens": request.max_output_tokens,
        "gen_ai.output.type": "text" if request.output_schema is None else "json",
        "holdfast.call.id": request.call_id,
    }
    if request.temperature is not None:
        asked["gen_ai.request.temperature"] = request.temperature
    return asked
