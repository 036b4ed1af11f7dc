"""An answer as it comes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Self

from holdfast.errors import ProviderUnavailableError
from holdfast.llm.call import timed_out
from holdfast.llm.providers.base import ProviderReply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from holdfast.llm.call import PaidCall
    from holdfast.llm.providers.base import TokenUsage


class TextStream:
    """Iterates over the text of one answer; made by `LLM.stream`."""

    def __init__(self, call: PaidCall, way: AbstractAsyncContextManager[None]) -> None:
        self._call = call
        self._way = way
        self._deltas = self._run()

    @property
    def text(self) -> str:
        """The text so far; the whole answer once iteration has ended."""
        return "".join(self._call.deltas)

    @property
    def usage(self) -> TokenUsage | None:
        """What the call used; None until iteration has ended."""
        reply = self._call.reply
        return None if reply is None else self._call.used(reply)

    def __aiter__(self) -> AsyncIterator[str]:
        return self._deltas

    async def __anext__(self) -> str:
        return await anext(self._deltas)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection if the answer is still coming, and book what came."""
        await self._deltas.aclose()

    async def _run(self) -> AsyncGenerator[str, None]:
        call = self._call
        async with self._way, aclosing(call.provider.stream(call.request)) as parts:
            waited = 0.0
            while call.reply is None:
                part, waited = await _next_part(parts, call, waited)
                if isinstance(part, ProviderReply):
                    call.reply = part
                    break
                call.deltas.append(part)
                if call.scope is not None:
                    call.scope.emit_delta(part)
                yield part
            call.check_finish(call.reply)


async def _next_part(
    parts: AsyncGenerator[str | ProviderReply, None], call: PaidCall, waited: float
) -> tuple[str | ProviderReply, float]:
    """Return what comes next, and how long the provider has been waited for in all.

    Only time spent waiting for the provider counts: a slow reader does not time the call out.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        async with asyncio.timeout(max(0.0, call.timeout_seconds - waited)):
            return await anext(parts), waited + loop.time() - begun
    except TimeoutError:
        failure: Exception = timed_out(call)
    except StopAsyncIteration:
        failure = ProviderUnavailableError(
            f"provider {call.provider.name!r} ended a stream before its answer"
        )
    raise failure
