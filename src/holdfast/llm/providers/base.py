"""The seam to a model provider: plain requests in, plain replies out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Protocol, TypedDict

from holdfast.llm.providers.headers import LimitHeaders

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping


class Message(TypedDict):
    """One message of a conversation, in the form of the chat completions API."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: NotRequired[list[dict[str, Any]]]
    """Of an assistant that asked for tools."""
    tool_call_id: NotRequired[str]
    """Of a tool's answer: which call it answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSchema:
    """The JSON schema an answer must fit."""

    name: str
    """1 to 64 letters, digits, underscores, dashes."""
    schema: Mapping[str, Any]
    """JSON schema whose root is an object."""
    strict: bool
    """Whether the schema obeys the rules of strict mode, so that decoding can be constrained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may ask for."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of its arguments, an object."""
    strict: bool = True
    """Whether the schema obeys the rules of strict mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """What a model asks for instead of, or beside, an answer."""

    call_id: str
    """The provider's; the tool's answer names it."""
    name: str
    arguments: str = field(repr=False)
    """JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """One model call. Its text stays out of `repr`, so it cannot end up in a log by accident."""

    call_id: str
    """Our id of the call, sent along as `X-Client-Request-Id`."""
    model: str
    messages: tuple[Message, ...] = field(repr=False)
    max_output_tokens: int
    temperature: float | None = None
    """None for the model's default."""
    output_schema: OutputSchema | None = field(default=None, repr=False)
    """None for free text."""
    tools: tuple[Tool, ...] = ()
    """What the model may ask for; `complete` only."""
    tool_choice: str | None = None
    """`auto`, `required`, `none`, or the name of the tool that must be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of one call."""

    input_tokens: int = 0
    """Prompt tokens, cached ones included."""
    cached_tokens: int = 0
    """Prompt tokens that the provider served from its cache."""
    output_tokens: int = 0
    """Completion tokens, reasoning included."""

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderReply:
    """A finished answer."""

    text: str = field(repr=False)
    """The answer as it came; JSON text when a schema was asked for."""
    usage: TokenUsage | None
    """None when the endpoint does not say; the client then estimates."""
    finish_reason: str
    """`stop`, `length` or `content_filter`; other values count as `stop`."""
    refused: bool = False
    """Whether the model answered with a refusal instead of content."""
    tool_calls: tuple[ToolCall, ...] = ()
    """What the model asks for; the text may then be empty."""
    response_id: str | None = None
    limits: LimitHeaders = field(default_factory=LimitHeaders)
    """What the answer's headers said of the account's limits."""


class Provider(Protocol):
    """A model provider. Failures are `holdfast.errors.LLMError`s and carry no prompt and no key."""

    @property
    def name(self) -> str:
        """Names the account in lanes and ledger, such as `openai`."""
        ...

    @property
    def free(self) -> bool:
        """Whether calls are known to cost nothing."""
        ...

    @property
    def price_url(self) -> str | None:
        """The API's address, by which the price table knows the provider; None if unknown."""
        ...

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        """Make one call, without any retry.

        Cancelling closes the connection, so that the provider can stop generating.

        Raises:
            LLMError: See `holdfast.errors`; `AccountRefusedError` for quota and key errors.
        """
        ...

    def stream(self, request: ProviderRequest) -> AsyncGenerator[str | ProviderReply, None]:
        """Make one call and yield its text as it comes, at last one `ProviderReply`.

        Closing the iterator closes the connection.

        Raises:
            LLMError: As `complete`; also when the stream ends before the answer does.
        """
        ...

    async def close(self) -> None:
        """Close connections; the provider may be used again afterwards."""
        ...
