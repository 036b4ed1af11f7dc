"""Money by the table."""

from decimal import Decimal

import pytest

from holdfast.llm import ModelConfig, Price, TokenUsage
from holdfast.llm.pricing import PriceTable
from holdfast.llm.providers.openai import OpenAIProvider
from holdfast.llm.providers.scripted import Scripted
from holdfast.testing.clock import ManualClock

MILLION = TokenUsage(input_tokens=1_000_000, output_tokens=1_000_000)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def table(clock):
    return PriceTable(clock)


@pytest.fixture
def openai():
    return OpenAIProvider(api_key="k")


@pytest.fixture
def local():
    return OpenAIProvider(api_key="k", base_url="http://127.0.0.1:8000/v1")


def test_model_of_a_known_provider_is_priced_exactly(table, openai):
    cached = TokenUsage(input_tokens=1_000_000, cached_tokens=1_000_000)

    assert table.cost(ModelConfig(model="gpt-4o-mini"), openai, MILLION) == Decimal("0.75")
    assert table.cost(ModelConfig(model="gpt-4o-mini"), openai, cached) == Decimal("0.075")


def test_unknown_model_and_unknown_endpoint_have_no_price(table, openai, local):
    assert table.cost(ModelConfig(model="no-such-model"), openai, MILLION) is None
    assert table.cost(ModelConfig(model="gpt-4o-mini"), local, MILLION) is None
    assert table.cost(ModelConfig(model="m", price_provider="nobody"), local, MILLION) is None


def test_endpoint_before_a_known_provider_is_priced_when_told_so(table, local):
    model = ModelConfig(model="gpt-4o-mini", price_provider="openai")

    assert table.cost(model, local, MILLION) == Decimal("0.75")


def test_no_tokens_cost_nothing_even_at_an_unknown_price(table, local):
    assert table.cost(ModelConfig(model="m"), local, TokenUsage()) == 0


def test_override_wins_and_free_is_zero(table, local):
    price = Price(input_per_million=Decimal("0.1"), output_per_million=Decimal("0.3"))

    assert table.cost(ModelConfig(model="m", price=price), local, MILLION) == Decimal("0.4")
    assert table.cost(ModelConfig(model="m"), Scripted(), MILLION) == Decimal(0)


def test_price_is_looked_up_once_an_hour(table, openai, clock):
    model = ModelConfig(model="gpt-4o-mini")
    table.warm_up(model, openai)
    first = table._known.copy()
    table.cost(model, openai, MILLION)
    assert table._known == first

    clock.advance(3_601)
    table.cost(model, openai, MILLION)

    assert table._known != first


def test_nothing_is_looked_up_for_what_is_free_or_overridden(table, local):
    table.warm_up(ModelConfig(model="m"), Scripted())

    assert table._known == {}
