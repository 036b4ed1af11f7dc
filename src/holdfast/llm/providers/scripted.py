"""An offline provider: deterministic text, no network, no cost. For demos, tests and dry runs."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING

from holdfast.clock import SystemClock
from holdfast.ids import content_hash, derived_id
from holdfast.llm.providers.base import ProviderReply, TokenUsage
from holdfast.llm.providers.sample import SampleWriter
from holdfast.llm.providers.tokens import estimate_input, estimate_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from holdfast.clock import Clock
    from holdfast.llm.providers.base import ProviderRequest

    Writer = Callable[[ProviderRequest], str | Awaitable[str]]

_DELTA_CHARACTERS = 24


class Scripted:
    """Writes each answer with a function of the request."""

    free = True
    price_url: str | None = None

    def __init__(
        self,
        writer: Writer | None = None,
        *,
        name: str = "scripted",
        tokens_per_second: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Choose who writes.

        Args:
            writer: Returns the answer's text, JSON where a schema is asked for; may be async.
                None for `write_sample`.
            name: Names the account in lanes and ledger.
            tokens_per_second: How fast answers come; None for at once.
            clock: Where latency is spent.
        """
        self.name = name
        self._writer: Writer = writer or write_sample
        self._tokens_per_second = tokens_per_second
        self._clock: Clock = clock or SystemClock()

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        reply = await self._reply(request)
        await self._pass_time(reply.text)
        return reply

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[str | ProviderReply, None]:
        reply = await self._reply(request)
        for begin in range(0, len(reply.text), _DELTA_CHARACTERS):
            delta = reply.text[begin : begin + _DELTA_CHARACTERS]
            await self._pass_time(delta)
            yield delta
        yield reply

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    async def _reply(self, request: ProviderRequest) -> ProviderReply:
        written = self._writer(request)
        text = await written if inspect.isawaitable(written) else written
        return ProviderReply(
            text=text,
            usage=TokenUsage(
                input_tokens=estimate_input(request.messages, request.output_schema, request.tools),
                output_tokens=estimate_text(text),
            ),
            finish_reason="stop",
            response_id=derived_id("scripted", request_hash(request)),
        )

    async def _pass_time(self, text: str) -> None:
        if self._tokens_per_second is not None:
            await self._clock.sleep(estimate_text(text) / self._tokens_per_second)


def request_hash(request: ProviderRequest) -> str:
    """Return the hash of what a request asks, without its id."""
    asked = [request.model, request.messages, request.max_output_tokens, request.temperature]
    if request.output_schema is not None:
        asked.append(dict(request.output_schema.schema))
    asked += [[tool.name, tool.description, dict(tool.parameters)] for tool in request.tools]
    return content_hash(json.dumps(asked, sort_keys=True).encode())


def write_sample(request: ProviderRequest) -> str:
    """Write varied sentences, or JSON that fits the asked schema, seeded by the request's hash."""
    writer = SampleWriter(request_hash(request))
    if request.output_schema is None:
        return writer.text(words=min(60, request.max_output_tokens // 2))
    return json.dumps(writer.value(request.output_schema.schema), ensure_ascii=False)
