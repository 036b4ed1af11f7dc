"""What the client needs to know of a model: plain values, filled from settings by `wiring`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

UNLIMITED = 1e9
"""Per minute: stands for a limit that nobody knows."""


class ChargingRule(StrEnum):
    """How a provider counts a call against its tokens per minute."""

    OPENAI = "openai"
    """The larger of `max_output_tokens` and the estimated prompt, at admission, no refund."""
    ANTHROPIC = "anthropic"
    """Prompt plus the output that really came; `max_output_tokens` does not count."""
    SUM = "sum"
    """Estimated prompt plus `max_output_tokens`, at admission, no refund: the most cautious."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens; overrides the price table."""

    input_per_million: Decimal
    cached_per_million: Decimal | None = None
    """None: cached tokens cost as much as others."""
    output_per_million: Decimal

    def __post_init__(self) -> None:
        """Check the amounts.

        Raises:
            ValueError: An amount is negative or not a number.
        """
        amounts = (self.input_per_million, self.cached_per_million, self.output_per_million)
        if any(amount is not None and not amount >= 0 for amount in amounts):
            raise ValueError(f"{self!r}: a price must be a number of US dollars >= 0")


FREE = Price(input_per_million=Decimal(0), output_per_million=Decimal(0))
"""The price of what is known to cost nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One model of one provider account."""

    model: str
    """The provider's name of the model."""
    provider: str = "openai"
    """Key among the client's providers."""
    requests_per_minute: float | None = None
    """None: learnt from the provider's headers, unlimited until then."""
    tokens_per_minute: float | None = None
    """None: learnt from the provider's headers, unlimited until then."""
    charging: ChargingRule = ChargingRule.OPENAI
    burst_seconds: float = 2.0
    """How many seconds' worth of permits may gather; providers' windows are short."""
    max_output_tokens: int = 4_096
    """Limit of a call that names none."""
    timeout_seconds: float = 180.0
    """Limit of one call, from sending it to the last token."""
    price: Price | None = None
    """None: by the price table."""
    price_provider: str | None = None
    """The provider's name in the price table (genai-prices), for endpoints that stand before it."""
    structured_outputs: bool = True
    """Whether the endpoint knows `response_format` json_schema; else the prompt asks for it."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: A limit is not above 0.
        """
        for name in ("requests_per_minute", "tokens_per_minute", "max_output_tokens"):
            number = getattr(self, name)
            if number is not None and not number > 0:
                raise ValueError(f"model {self.model!r}: {name} is {number!r}, must be above 0")
        if not self.timeout_seconds > 0 or self.burst_seconds < 0:
            raise ValueError(
                f"model {self.model!r}: timeout_seconds must be above 0, burst_seconds 0 or more"
            )

    @property
    def lane(self) -> str:
        """The lane that all calls to this model share: provider account and model."""
        return f"{self.provider}:{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMConfig:
    """The models a client may call."""

    default_model: str
    """Key in `models`, for calls that name none."""
    models: Mapping[str, ModelConfig]
    """By the name that callers use, which need not be the provider's."""
    hold_seconds: float = 900.0
    """How long a lane is parked when the quota is exhausted or the key is refused."""
    rate_share: float = 0.98
    """Share of each limit that is used, as the provider's clock and ours differ a little."""

    def __post_init__(self) -> None:
        """Check that the default model is there.

        Raises:
            ValueError: It is not, or `rate_share` is not in (0, 1].
        """
        if self.default_model not in self.models:
            raise ValueError(
                f"default model {self.default_model!r} is not configured;"
                f" models: {', '.join(map(repr, self.models)) or 'none'}"
            )
        if not 0 < self.rate_share <= 1:
            raise ValueError(f"rate_share is {self.rate_share!r}, must be above 0 and at most 1")

    @classmethod
    def single(cls, model: ModelConfig) -> LLMConfig:
        """Return a configuration of one model under its own name."""
        return cls(default_model=model.model, models={model.model: model})
