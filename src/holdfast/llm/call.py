"""One model call on its way: what was asked, what is known of its cost, how its end is judged."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from holdfast.errors import (
    ContentRefusedError,
    HoldfastError,
    LLMError,
    ProviderTimeoutError,
    TruncatedResponseError,
)
from holdfast.llm.providers.base import ProviderReply, TokenUsage
from holdfast.llm.providers.tokens import estimate_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.llm.config import ModelConfig
    from holdfast.llm.providers.base import Message, Provider, ProviderRequest
    from holdfast.scope import StepScope
    from holdfast.store.base import LaneRequest

Urgency = Literal["interactive", "normal", "background"]
"""How soon a caller needs an answer; multiplies the weight of its job in the lane."""

_URGENCY_WEIGHT: dict[Urgency, float] = {"interactive": 8.0, "normal": 1.0, "background": 0.125}

_PRIORITY_MAX = 10

OUTSIDE = "outside"
"""Flow of calls that no step makes."""


@dataclass(slots=True, kw_only=True)
class PaidCall:
    """A call between being asked for and being booked."""

    request: ProviderRequest
    model: ModelConfig
    provider: Provider
    scope: StepScope | None
    lane_request: LaneRequest
    urgency: Urgency
    timeout_seconds: float
    input_tokens: int
    """Estimated."""
    deltas: list[str] = field(default_factory=list, repr=False)
    """Streamed text so far."""
    reply: ProviderReply | None = None
    """Set when the provider has answered in full."""
    reserved: bool = False
    """Set once the intent is in the ledger."""
    sent: bool = False
    """Set right before the request goes out."""

    @property
    def flow(self) -> str:
        """Whose call this is, for sharing the lane."""
        job = OUTSIDE if self.scope is None else self.scope.lease.job_id
        return f"{job}/{self.urgency}"

    @property
    def weight(self) -> float:
        """Share of the lane: doubles with each step of the job's priority."""
        priority = 0 if self.scope is None else self.scope.priority
        limited = max(-_PRIORITY_MAX, min(_PRIORITY_MAX, priority))
        return float(2.0**limited * _URGENCY_WEIGHT[self.urgency])

    def check_finish(self, reply: ProviderReply) -> None:
        """Accept an answer that ended by itself.

        Raises:
            TruncatedResponseError: It ended at the output limit.
            ContentRefusedError: The model or a filter refused.
        """
        where = f"model {self.model.model!r}"
        if reply.finish_reason == "length":
            raise TruncatedResponseError(
                f"the answer of {where} ended at its limit of {self.request.max_output_tokens}"
                " output tokens",
                hint="ask for less per call, or raise max_output_tokens",
            )
        if reply.refused or reply.finish_reason == "content_filter":
            raise ContentRefusedError(
                f"{where} refused to answer",
                hint="change the prompt; the same one is refused again",
            )

    def used(self, reply: ProviderReply) -> TokenUsage:
        """Return what an answer used, estimated where the endpoint does not say."""
        if reply.usage is not None:
            return reply.usage
        return TokenUsage(input_tokens=self.input_tokens, output_tokens=estimate_text(reply.text))

    def used_until(self, error: BaseException) -> TokenUsage:
        """Return what a call used that ended with `error`, as far as is known.

        An answer that came is counted as the provider says. A request that was cut off by us or
        in the middle of its answer is counted by estimate: its prompt, and the text that came.
        One that the provider refused costs nothing.
        """
        if self.reply is not None:
            return self.used(self.reply)
        cut_off = not isinstance(error, LLMError) or isinstance(error, ProviderTimeoutError)
        if self.sent and (cut_off or self.deltas):
            return TokenUsage(
                input_tokens=self.input_tokens, output_tokens=estimate_text("".join(self.deltas))
            )
        return TokenUsage()


def timed_out(call: PaidCall) -> ProviderTimeoutError:
    """Return the error for a call that passed its time limit."""
    return ProviderTimeoutError(
        f"provider {call.provider.name!r} was still busy after the limit of"
        f" {call.timeout_seconds:g} s for a call to {call.model.model!r}",
        hint="raise timeout_seconds if the call may take longer",
    )


def error_code(error: BaseException) -> str:
    """Return the stable code to book a failed call under."""
    if isinstance(error, HoldfastError):
        return error.code
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return "cancelled"
    return "exception"


def as_messages(prompt: str | Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """Return the conversation with the system text first.

    What calls share (the system text) stands before what differs, so that the provider's prompt
    cache applies to it.
    """
    asked: tuple[Message, ...]
    if isinstance(prompt, str):
        asked = ({"role": "user", "content": prompt},)
    else:
        asked = tuple(prompt)
    if system is None:
        return asked
    return ({"role": "system", "content": system}, *asked)
