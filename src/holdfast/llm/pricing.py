"""Money: what tokens cost, in exact decimals. An unknown price is None, never 0."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from holdfast.llm.config import FREE, Price

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

    from holdfast.clock import Clock
    from holdfast.llm.config import ModelConfig
    from holdfast.llm.providers.base import Provider, TokenUsage

_MILLION = Decimal(1_000_000)
_CACHE_SECONDS = 3600.0
"""Some prices depend on the time of day; a lookup takes half a millisecond."""


class PriceTable:
    """Prices by model: an override, else zero for free providers, else the genai-prices table."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[tuple[str | None, str | None, str], tuple[float, ModelPrice | None]] = {}

    def cost(self, model: ModelConfig, provider: Provider, usage: TokenUsage) -> Decimal | None:
        """Return the US dollars that `usage` costs, or None when the price is unknown."""
        override = model.price or (FREE if provider.free else None)
        if override is not None:
            return _cost_by(override, usage)
        if usage.total_tokens == 0:
            return Decimal(0)
        listed = self._listed(model, provider)
        if listed is None:
            return None
        from genai_prices import Usage as PricedUsage

        priced = PricedUsage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
        )
        try:
            return Decimal(listed.calc_price(priced)["total_price"])
        except (LookupError, ValueError):
            return None

    def warm_up(self, model: ModelConfig, provider: Provider) -> None:
        """Look a model up before the event loop has anything to wait for: the first takes 0.4 s."""
        if model.price is None and not provider.free:
            self._listed(model, provider)

    def _listed(self, model: ModelConfig, provider: Provider) -> ModelPrice | None:
        """Look the model up, at most once an hour."""
        key = (model.price_provider, provider.price_url, model.model)
        now = self._clock.monotonic()
        found = self._known.get(key)
        if found is None or now - found[0] > _CACHE_SECONDS:
            found = self._known[key] = (now, _look_up(*key))
        return found[1]


def _look_up(price_provider: str | None, price_url: str | None, model: str) -> ModelPrice | None:
    if price_provider is None and price_url is None:
        # By the model's name alone the table would guess a provider, and a free local model
        # would be billed at some cloud's price.
        return None
    # The table's import takes a third of a second: only programs that need a price pay for it.
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    one_each = PricedUsage(input_tokens=1, output_tokens=1)
    try:
        if price_provider is not None:
            return calc_price(one_each, model, provider_id=price_provider).model_price
        return calc_price(one_each, model, provider_api_url=price_url).model_price
    except LookupError:
        return None


def _cost_by(price: Price, usage: TokenUsage) -> Decimal:
    cached_price = price.cached_per_million
    if cached_price is None:
        cached_price = price.input_per_million
    cached = min(usage.cached_tokens, usage.input_tokens)
    return (
        price.input_per_million * (usage.input_tokens - cached)
        + cached_price * cached
        + price.output_per_million * usage.output_tokens
    ) / _MILLION
