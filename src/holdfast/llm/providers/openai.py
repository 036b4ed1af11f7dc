"""Any OpenAI-compatible endpoint, through the official SDK with its aiohttp transport.

The SDK's own retries are off: the engine's step retry is the only one. aiohttp as transport
starts a thousand requests with a sixth of the CPU time that httpx takes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
from openai.types.chat import ChatCompletion

from holdfast.clock import SystemClock
from holdfast.errors import ProviderUnavailableError
from holdfast.llm.providers.base import ProviderReply, TokenUsage, ToolCall
from holdfast.llm.providers.headers import parse_limits
from holdfast.llm.providers.openai_errors import FOREIGN_ERRORS, translate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessage

    from holdfast.clock import Clock
    from holdfast.errors import LLMError
    from holdfast.llm.providers.base import ProviderRequest, Tool

OPENAI_URL = "https://api.openai.com/v1"

CONNECT_SECONDS_MAX = 10.0
"""Limit of making a connection; the call's own limit is the client's."""


class OpenAIProvider:
    """Chat completions of OpenAI, or of anything that speaks the same."""

    free = False

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str = OPENAI_URL,
        name: str = "openai",
        extra_headers: Mapping[str, str] | None = None,
        output_limit_field: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Remember how to reach the endpoint; connections are made at the first call.

        Args:
            api_key: Sent as bearer token; any text for endpoints that need none.
            base_url: The API's root, ending in `/v1` as a rule.
            name: Names the account in lanes and ledger.
            extra_headers: Sent with every call.
            output_limit_field: `max_completion_tokens` or `max_tokens`; None for the first at
                OpenAI itself, which refuses the other for reasoning models, and the second
                elsewhere, where the first is often unknown.
            clock: For a Retry-After that is a date.
        """
        self.name = name
        self.price_url: str | None = base_url
        self._api_key = api_key
        self._base_url = base_url
        self._extra_headers = dict(extra_headers or {})
        own = base_url.startswith(("https://api.openai.com/", "https://eu.api.openai.com/"))
        default_field = "max_completion_tokens" if own else "max_tokens"
        self._output_limit_field = output_limit_field or default_field
        self._clock: Clock = clock or SystemClock()
        self._client: openai.AsyncOpenAI | None = None
        self._connecting = asyncio.Lock()

    def __repr__(self) -> str:
        return f"OpenAIProvider(name={self.name!r}, base_url={self._base_url!r})"

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        failure: LLMError
        try:
            raw = await (await self._sdk()).chat.completions.with_raw_response.create(
                **self._body(request), stream=False
            )
            return _reply(raw.parse(), self.name, raw.headers)
        except FOREIGN_ERRORS as error:
            failure = translate(error, self.name, self._clock.now())
        # Raised out here: the SDK's error holds the request and must not come along as context.
        raise failure

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[str | ProviderReply, None]:
        failure: LLMError
        try:
            raw = await (await self._sdk()).chat.completions.with_raw_response.create(
                **self._body(request), stream=True, stream_options={"include_usage": True}
            )
            collected = _Collected()
            async with raw.parse() as chunks:
                async for chunk in chunks:
                    delta = collected.add(chunk)
                    if delta:
                        yield delta
            yield collected.reply(self.name, raw.headers)
            return
        except FOREIGN_ERRORS as error:
            failure = translate(error, self.name, self._clock.now())
        raise failure

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _sdk(self) -> openai.AsyncOpenAI:
        if self._client is None:
            async with self._connecting:
                if self._client is None:
                    # Imports and TLS setup take 0.2 s, which the event loop must not stand still.
                    self._client = await asyncio.to_thread(self._connect)
        return self._client

    def _connect(self) -> openai.AsyncOpenAI:
        timeout = openai.Timeout(None, connect=CONNECT_SECONDS_MAX)
        client = openai.AsyncOpenAI(
            api_key=self._api_key,
            base_url=self._base_url,
            default_headers=self._extra_headers,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAioHttpClient(timeout=timeout),
        )
        _ = client.chat.completions.with_raw_response  # imports the API's types
        return client

    def _body(self, request: ProviderRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model,
            "messages": list(request.messages),
            self._output_limit_field: request.max_output_tokens,
            "extra_headers": {"X-Client-Request-Id": request.call_id},
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.output_schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": request.output_schema.name,
                    "schema": dict(request.output_schema.schema),
                    "strict": request.output_schema.strict,
                },
            }
        if request.tools:
            body["tools"] = [_tool(each) for each in request.tools]
        if request.tools and request.tool_choice is not None:
            body["tool_choice"] = _tool_choice(request.tool_choice)
        return body


class _Collected:
    """What a stream has said so far."""

    def __init__(self) -> None:
        self._deltas: list[str] = []
        self._finish_reason: str | None = None
        self._refused = False
        self._response_id: str | None = None
        self._usage: TokenUsage | None = None

    def add(self, chunk: ChatCompletionChunk) -> str:
        self._response_id = chunk.id or self._response_id
        self._usage = _usage(chunk.usage) or self._usage
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self._finish_reason = choice.finish_reason or self._finish_reason
        if choice.delta is None:
            return ""
        self._refused = self._refused or bool(choice.delta.refusal)
        delta = choice.delta.content or ""
        self._deltas.append(delta)
        return delta

    def reply(self, name: str, headers: Mapping[str, str]) -> ProviderReply:
        if self._finish_reason is None:
            # The SDK ends such a stream without an error: half an answer would pass for a whole.
            raise ProviderUnavailableError(f"provider {name!r} ended a stream before its answer")
        return ProviderReply(
            text="".join(self._deltas),
            usage=self._usage,
            finish_reason=self._finish_reason,
            refused=self._refused,
            response_id=self._response_id,
            limits=parse_limits(headers),
        )


def _reply(completion: object, name: str, headers: Mapping[str, str]) -> ProviderReply:
    if not isinstance(completion, ChatCompletion) or not completion.choices:
        # Gateways do answer 200 with an error page or an error object.
        raise ProviderUnavailableError(f"provider {name!r} answered without a completion")
    choice = completion.choices[0]
    return ProviderReply(
        text=choice.message.content or "",
        usage=_usage(completion.usage),
        finish_reason=choice.finish_reason or "stop",
        refused=bool(choice.message.refusal),
        tool_calls=_tool_calls(choice.message),
        response_id=completion.id,
        limits=parse_limits(headers),
    )


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
            "strict": tool.strict,
        },
    }


def _tool_choice(choice: str) -> str | dict[str, Any]:
    if choice in {"auto", "required", "none"}:
        return choice
    return {"type": "function", "function": {"name": choice}}


def _tool_calls(message: ChatCompletionMessage) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(call_id=each.id, name=each.function.name, arguments=each.function.arguments)
        for each in message.tool_calls or ()
        if each.type == "function"
    )


def _usage(usage: CompletionUsage | None) -> TokenUsage | None:
    if usage is None:
        return None
    details = usage.prompt_tokens_details
    return TokenUsage(
        input_tokens=usage.prompt_tokens or 0,
        cached_tokens=(details.cached_tokens or 0) if details is not None else 0,
        output_tokens=usage.completion_tokens or 0,
    )
