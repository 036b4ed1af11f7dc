"""The provider of a simulation and its own book of calls: what is in it has been paid."""

from __future__ import annotations

from contextvars import Context
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.errors import ProviderUnavailableError, RateLimitedError
from holdfast.llm.providers.base import ProviderReply, TokenUsage
from holdfast.testing.simulation.loop import PROCESS
from holdfast.testing.simulation.plan import FaultKind

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import AsyncGenerator

    from holdfast.llm.providers.base import ProviderRequest
    from holdfast.testing.simulation.loop import SimulatedLoop
    from holdfast.testing.simulation.plan import Fault

OUTPUT_TOKENS = 40
TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A call in the provider's book."""

    call_id: str
    question: str
    usage: TokenUsage
    process: str
    at: float


class SimulatedProvider:
    """Answers after a while and writes each call that it answers into its book."""

    name = "simulated"
    free = False
    price_url: str | None = None

    def __init__(self, loop: SimulatedLoop, faults: tuple[Fault, ...], draw: random.Random) -> None:
        self.book: list[Paid] = []
        self.asked = 0
        self._loop = loop
        self._faults = {fault.number: fault for fault in faults if fault.kind is FaultKind.PROVIDER}
        self._draw = draw

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        """Answer a call; once it has arrived it is answered and paid, whoever still listens."""
        self.asked += 1
        fault = self._faults.get(self.asked)
        answer: asyncio.Future[ProviderReply] = self._loop.create_future()
        seconds = self._draw.uniform(0.05, 3.0)
        if fault is not None and not fault.seconds:
            error = _refusal(self._draw)
            self._loop.call_later(seconds / 10, _fail, answer, error, context=Context())
        else:
            self._accept(request)
            late = 0.0 if fault is None else fault.seconds
            reply = _reply(request)
            self._loop.call_later(seconds + late, _answer, answer, reply, context=Context())
        return await answer

    def stream(self, request: ProviderRequest) -> AsyncGenerator[str | ProviderReply, None]:
        """Refuse: the simulation does not stream."""
        raise NotImplementedError("simulated jobs do not stream")

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _accept(self, request: ProviderRequest) -> None:
        process = PROCESS.get()
        self.book.append(
            Paid(
                call_id=request.call_id,
                question=request.messages[-1]["content"],
                usage=_usage(request),
                process="" if process is None else process.name,
                at=self._loop.time(),
            )
        )


def _usage(request: ProviderRequest) -> TokenUsage:
    return TokenUsage(input_tokens=len(request.messages[-1]["content"]), output_tokens=OUTPUT_TOKENS)


def _reply(request: ProviderRequest) -> ProviderReply:
    return ProviderReply(
        text=f"answer to {request.messages[-1]['content']}",
        usage=_usage(request),
        finish_reason="stop",
        response_id=f"response {request.call_id}",
    )


def _refusal(draw: random.Random) -> Exception:
    if draw.random() < 0.5:
        return RateLimitedError("simulated 429", retry_after=timedelta(seconds=draw.uniform(0.5, 5.0)))
    return ProviderUnavailableError("simulated 503")


def _answer(answer: asyncio.Future[ProviderReply], reply: ProviderReply) -> None:
    if not answer.done():
        answer.set_result(reply)


def _fail(answer: asyncio.Future[ProviderReply], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
