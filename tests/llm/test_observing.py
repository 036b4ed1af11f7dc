"""What is measured and traced of a call: as OpenTelemetry names it, and nothing of what was said."""

import asyncio
from decimal import Decimal

import pytest
from opentelemetry.trace import StatusCode
from prometheus_client import REGISTRY

from holdfast.errors import ProviderUnavailableError, RateLimitedError
from holdfast.llm import LLM, LLMConfig, LocalLanes, ModelConfig, Price
from holdfast.testing.clock import ManualClock
from tests.llm.test_client import Fake, reply
from tests.spans import recording

SECRET = "what nobody else may read"
LABELS = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "fake",
    "gen_ai_request_model": "measured",
}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Grown:
    """How much a sample has grown since the test began."""

    def __init__(self) -> None:
        self.before: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def watch(self, name: str, **labels: str) -> None:
        self.before[name, tuple(sorted(labels.items()))] = value(name, **labels)

    def by(self, name: str, **labels: str) -> float:
        return value(name, **labels) - self.before[name, tuple(sorted(labels.items()))]


@pytest.fixture
def make(ledger):
    def make(fake: Fake) -> LLM:
        model = ModelConfig(
            model="measured",
            provider="fake",
            price=Price(
                input_per_million=Decimal(1),
                cached_per_million=Decimal(1),
                output_per_million=Decimal(2),
            ),
        )
        clock = ManualClock()
        return LLM(
            LLMConfig.single(model), {"fake": fake}, lanes=LocalLanes(clock), ledger=ledger, clock=clock
        )

    return make


async def test_answer_is_measured_in_time_tokens_and_money(make, in_step):
    grown = Grown()
    grown.watch("gen_ai_client_operation_duration_seconds_count", **LABELS, error_type="")
    grown.watch("gen_ai_client_token_usage_sum", **LABELS, gen_ai_token_type="input")
    grown.watch("gen_ai_client_token_usage_sum", **LABELS, gen_ai_token_type="output")
    grown.watch("holdfast_spent_usd_total", kind="report", model="measured")
    answer = reply()

    await make(Fake(answer)).complete(SECRET)

    assert grown.by("gen_ai_client_operation_duration_seconds_count", **LABELS, error_type="") == 1
    used = answer.usage
    assert (
        grown.by("gen_ai_client_token_usage_sum", **LABELS, gen_ai_token_type="input")
        == used.input_tokens
    )
    assert (
        grown.by("gen_ai_client_token_usage_sum", **LABELS, gen_ai_token_type="output")
        == used.output_tokens
    )
    assert grown.by("holdfast_spent_usd_total", kind="report", model="measured") == pytest.approx(
        (used.input_tokens + 2 * used.output_tokens) / 1e6
    )


async def test_call_outside_of_a_job_costs_money_too(make):
    grown = Grown()
    grown.watch("holdfast_spent_usd_total", kind="outside", model="measured")

    await make(Fake(reply())).complete(SECRET)

    assert grown.by("holdfast_spent_usd_total", kind="outside", model="measured") > 0


@pytest.mark.parametrize(
    "error", [ProviderUnavailableError(f"away: {SECRET}"), RateLimitedError(f"slow: {SECRET}")]
)
async def test_call_that_fails_is_told_by_its_code(make, in_step, error):
    grown = Grown()
    grown.watch("gen_ai_client_operation_duration_seconds_count", **LABELS, error_type=error.code)

    with recording() as spans, pytest.raises(type(error)):
        await make(Fake(error)).complete(SECRET)

    span = spans.one("chat measured")
    assert (
        grown.by("gen_ai_client_operation_duration_seconds_count", **LABELS, error_type=error.code) == 1
    )
    assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, error.code)
    assert SECRET not in span.to_json()


async def test_call_that_is_cancelled_is_no_failure(make, in_step):
    fake = Fake("hang")
    with recording() as spans:
        calling = asyncio.create_task(make(fake).complete(SECRET))
        await fake.started.wait()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)

    span = spans.one("chat measured")
    assert (span.status.status_code, span.attributes["error.type"]) == (
        StatusCode.UNSET,
        "CancelledError",
    )
    assert span.attributes["gen_ai.usage.input_tokens"] > 0


async def test_call_that_never_went_out_is_not_measured(make, in_step, ledger):
    ledger.refuse_reserve = RuntimeError("no")
    with recording() as spans, pytest.raises(RuntimeError):
        await make(Fake(reply())).complete(SECRET)

    assert spans.names() == []


async def test_answer_that_streams_is_one_span(make, in_step):
    with recording() as spans:
        text = "".join([part async for part in make(Fake("a", "b", reply())).stream(SECRET)])

    assert text
    assert spans.said("chat measured")["gen_ai.response.finish_reasons"] == ("stop",)
