"""The client: model calls within limits and budget, each booked in the ledger.

It does not retry: the engine's step retry is the only retry, and waits of a lane are spent in
the lane. Without a store (no ledger, `LocalLanes`) it works the same outside of any job.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, TypedDict, TypeVar, Unpack, overload

from holdfast.clock import SystemClock
from holdfast.errors import ConfigError
from holdfast.ids import new_id
from holdfast.llm.call import PaidCall, as_messages, timed_out
from holdfast.llm.lanes import LocalLanes
from holdfast.llm.pipeline import Pipeline
from holdfast.llm.providers.base import Message, ProviderRequest
from holdfast.llm.providers.tokens import estimate_input
from holdfast.llm.streaming import TextStream
from holdfast.llm.structured import output_type
from holdfast.scope import current_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.clock import Clock
    from holdfast.llm.budget import Ledger
    from holdfast.llm.call import Urgency
    from holdfast.llm.config import LLMConfig, ModelConfig
    from holdfast.llm.lanes import Lanes
    from holdfast.llm.providers.base import OutputSchema, Provider, ProviderReply, Tool

T = TypeVar("T")


class CallOptions(TypedDict, total=False):
    """Options of a call; each may be left out or None."""

    system: str | None
    """Goes first; keep it the same over calls, so that the provider's prompt cache applies."""
    model: str | None
    """Key in the configuration; None for the default."""
    max_output_tokens: int | None
    """None for the model's configured limit."""
    temperature: float | None
    """None for the model's default."""
    timeout_seconds: float | None
    """Of the provider call alone, waits before it excluded; None for the configured limit."""
    urgency: Urgency
    """How soon the answer is needed, against other calls to the same lane; default `normal`."""


class LLM:
    """Calls models. One object per process; close it at the end."""

    def __init__(
        self,
        config: LLMConfig,
        providers: Mapping[str, Provider],
        *,
        lanes: Lanes | None = None,
        ledger: Ledger | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Join the parts.

        Args:
            config: The models.
            providers: By the key that `ModelConfig.provider` names.
            lanes: The store, for limits shared by all workers; None for this process alone.
            ledger: The store, for booking calls of steps; None to book nothing.
            clock: For waits; timeouts run by the event loop's own clock.

        Raises:
            ConfigError: A model names a provider that is not there.
        """
        for name, model in config.models.items():
            if model.provider not in providers:
                known = ", ".join(map(repr, providers)) or "none"
                raise ConfigError(f"model {name!r} names provider {model.provider!r}; there is {known}")
        self._config = config
        self._providers = providers
        clock = clock or SystemClock()
        self._pipeline = Pipeline(config, lanes=lanes or LocalLanes(clock), ledger=ledger, clock=clock)
        for model in config.models.values():
            self._pipeline.prices.warm_up(model, providers[model.provider])

    @overload
    async def complete(self, prompt: str | Sequence[Message], **options: Unpack[CallOptions]) -> str: ...

    @overload
    async def complete(
        self,
        prompt: str | Sequence[Message],
        *,
        output: type[T],
        **options: Unpack[CallOptions],
    ) -> T: ...

    async def complete(
        self,
        prompt: str | Sequence[Message],
        *,
        output: type[T] | None = None,
        **options: Unpack[CallOptions],
    ) -> T | str:
        """Make one call and return its text, or its value if `output` names a type.

        Args:
            prompt: The user's message, or a conversation.
            output: A pydantic model, dataclass or other JSON type to parse the answer into.
            **options: See `CallOptions`.

        Raises:
            RateLimitedError, ProviderUnavailableError, ProviderTimeoutError: Transient.
            InvalidResponseError: The answer does not fit `output`; transient within its limit.
            TruncatedResponseError, ContentRefusedError, ContextTooLongError,
            ProviderRequestError: The same call would end the same way.
            LaneHeldError: Quota exhausted or key refused; no call is made while it lasts.
            BudgetExceededError: The call might pass the job's budget.
            LeaseLost: The attempt no longer owns the job.
        """
        parser = None if output is None else output_type(output)
        call = self._prepare(prompt, None if parser is None else parser.schema, options)
        async with self._pipeline.run(call):
            reply = call.reply = await _answer(call)
            call.check_finish(reply)
        return reply.text if parser is None else parser.parse(reply.text)

    async def respond(
        self,
        messages: Sequence[Message],
        *,
        schema: OutputSchema | None = None,
        tools: Sequence[Tool] = (),
        tool_choice: str | None = None,
        **options: Unpack[CallOptions],
    ) -> ProviderReply:
        """Make one call and return the whole answer, which may ask for tools; for loops of agents.

        Args:
            messages: The conversation so far, asked-for tools and their answers included.
            schema: What the answer's text must fit; nobody checks it here.
            tools: What the model may ask for.
            tool_choice: See `ProviderRequest.tool_choice`.
            **options: See `CallOptions`.

        Raises:
            LLMError, BudgetExceededError, LeaseLost: As `complete`, `InvalidResponseError` excepted.
        """
        call = self._prepare(messages, schema, options, tools=tuple(tools), tool_choice=tool_choice)
        async with self._pipeline.run(call):
            reply = call.reply = await _answer(call)
            call.check_finish(reply)
        return reply

    def stream(self, prompt: str | Sequence[Message], **options: Unpack[CallOptions]) -> TextStream:
        """Return an iterator over the answer's text as it comes; the call starts with iteration.

        The text also goes to the step's events. Use the stream as a context manager, so that
        leaving early closes the connection at once. Errors are those of `complete`.
        """
        call = self._prepare(prompt, None, options)
        return TextStream(call, self._pipeline.run(call))

    async def close(self) -> None:
        """Cancel waits for permits and close connections."""
        await self._pipeline.limiter.close()
        for provider in self._providers.values():
            await provider.close()

    def _prepare(
        self,
        prompt: str | Sequence[Message],
        schema: OutputSchema | None,
        options: CallOptions,
        *,
        tools: tuple[Tool, ...] = (),
        tool_choice: str | None = None,
    ) -> PaidCall:
        _check_names(options)
        model = self._model(options.get("model"))
        messages = as_messages(prompt, options.get("system"))
        if schema is not None and not model.structured_outputs:
            messages, schema = _schema_in_prompt(messages, schema), None
        limit = options.get("max_output_tokens") or model.max_output_tokens
        input_tokens = estimate_input(messages, schema, tools)
        return PaidCall(
            request=ProviderRequest(
                call_id=new_id("call"),
                model=model.model,
                messages=messages,
                max_output_tokens=limit,
                temperature=options.get("temperature"),
                output_schema=schema,
                tools=tools,
                tool_choice=tool_choice,
            ),
            model=model,
            provider=self._providers[model.provider],
            scope=current_step(),
            lane_request=self._pipeline.keeper.request(
                model, input_tokens=input_tokens, max_output_tokens=limit
            ),
            urgency=options.get("urgency", "normal"),
            timeout_seconds=options.get("timeout_seconds") or model.timeout_seconds,
            input_tokens=input_tokens,
        )

    def _model(self, name: str | None) -> ModelConfig:
        chosen = self._config.models.get(name or self._config.default_model)
        if chosen is None:
            known = ", ".join(map(repr, self._config.models))
            raise ConfigError(f"model {name!r} is not configured; models: {known}")
        return chosen


def _check_names(options: CallOptions) -> None:
    """Refuse options that do not exist: one that is ignored may cost money."""
    unknown = sorted(options.keys() - CallOptions.__annotations__.keys())
    if unknown:
        known = ", ".join(sorted(CallOptions.__annotations__))
        raise TypeError(f"model call with unknown options {unknown}; options are output, {known}")


async def _answer(call: PaidCall) -> ProviderReply:
    """Have the provider answer within the call's limit."""
    try:
        async with asyncio.timeout(call.timeout_seconds):
            return await call.provider.complete(call.request)
    except TimeoutError:
        pass
    raise timed_out(call)


def _schema_in_prompt(messages: tuple[Message, ...], schema: OutputSchema) -> tuple[Message, ...]:
    """Ask for the schema in words, for endpoints that cannot be told otherwise."""
    asked = "Answer with one JSON value that fits this JSON schema, and nothing else:\n" + json.dumps(
        dict(schema.schema), separators=(",", ":")
    )
    # Before what differs between calls, for the prompt cache's sake.
    system: Message = {"role": "system", "content": asked}
    return (system, *messages)
