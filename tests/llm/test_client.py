"""The way of a call: lane, intent, call, booking, answer."""

import asyncio
import contextlib
import logging
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast.errors import (
    AccountRefusedError,
    BudgetExceededError,
    ConfigError,
    InvalidResponseError,
    LaneHeldError,
    LeaseLost,
    LLMError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    StoreUnavailableError,
    TruncatedResponseError,
)
from holdfast.llm import (
    LLM,
    ChargingRule,
    LLMConfig,
    ModelConfig,
    Price,
    ProviderReply,
    ProviderRequest,
    TokenUsage,
)
from holdfast.llm.providers.headers import LimitHeaders
from holdfast.llm.providers.scripted import Scripted
from holdfast.model import CallStatus
from holdfast.store.base import LaneAdjustment, LaneGrant
from holdfast.testing.clock import ManualClock


class Verdict(BaseModel):
    word: str
    score: int


class Fake:
    """A provider that does as told: returns, raises or waits."""

    name = "fake"
    free = False
    price_url = None

    def __init__(self, *ends) -> None:
        self.ends = list(ends)
        self.requests: list[ProviderRequest] = []
        self.started = asyncio.Event()
        self.cancelled = False

    async def complete(self, request):
        self.requests.append(request)
        self.started.set()
        end = self.ends.pop(0) if self.ends else reply()
        if end == "hang":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        if isinstance(end, BaseException):
            raise end
        return end

    async def stream(self, request):
        self.requests.append(request)
        self.started.set()
        for end in self.ends:
            if end == "hang":
                await asyncio.Event().wait()
            if isinstance(end, BaseException):
                raise end
            yield end

    async def close(self):
        self.requests.clear()


def reply(text="hello", **fields):
    defaults = {
        "usage": TokenUsage(input_tokens=40, cached_tokens=10, output_tokens=7),
        "finish_reason": "stop",
        "response_id": "chatcmpl-1",
    }
    return ProviderReply(text=text, **{**defaults, **fields})


@pytest.fixture
def client(ledger, lanes):
    def make(provider, **model):
        config = ModelConfig(
            **{
                "model": "m",
                "provider": "fake",
                "price": Price(
                    input_per_million=Decimal(2),
                    cached_per_million=Decimal(1),
                    output_per_million=Decimal(10),
                ),
                **model,
            }
        )
        return LLM(LLMConfig.single(config), {"fake": provider}, lanes=lanes, ledger=ledger)

    return make


async def test_call_is_reserved_at_its_upper_bound_and_booked_with_what_it_used(client, ledger, in_step):
    provider = Fake()

    text = await client(provider).complete("x" * 400, max_output_tokens=100)

    assert text == "hello"
    (intent,) = ledger.intents
    assert intent.reserved_tokens == 104 + 100
    assert intent.reserved_usd == Decimal(104 * 2 + 100 * 10) / 1_000_000
    assert (intent.step_key, intent.step_attempt, intent.provider) == ("daily", 1, "fake")
    assert ledger.only.status is CallStatus.SETTLED
    assert ledger.only.usd == Decimal(30 * 2 + 10 * 1 + 7 * 10) / 1_000_000
    assert ledger.only.response_id == "chatcmpl-1"
    assert provider.requests[0].call_id == intent.call_id


async def test_outside_of_a_step_nothing_is_booked(client, ledger):
    assert await client(Fake()).complete("hi") == "hello"
    assert ledger.intents == []


async def test_static_prefix_comes_first(client):
    provider = Fake()

    await client(provider).complete("question", system="context")

    assert provider.requests[0].messages == (
        {"role": "system", "content": "context"},
        {"role": "user", "content": "question"},
    )


async def test_conversation_and_options_reach_the_provider(client):
    provider = Fake()

    await client(provider).complete(
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        temperature=0.5,
        urgency="interactive",
    )

    assert len(provider.requests[0].messages) == 2
    assert provider.requests[0].temperature == 0.5


async def test_typed_answer_comes_back_as_its_type(client):
    provider = Fake(reply('{"word": "yes", "score": 3}'))

    assert await client(provider).complete("?", output=Verdict) == Verdict(word="yes", score=3)
    assert (schema := provider.requests[0].output_schema) is not None
    assert schema.strict


async def test_endpoint_without_structured_outputs_is_asked_in_words(client):
    provider = Fake(reply('{"word": "yes", "score": 3}'))

    await client(provider, structured_outputs=False).complete("?", output=Verdict)

    assert provider.requests[0].output_schema is None
    assert '"score"' in provider.requests[0].messages[0]["content"]


async def test_lost_lease_stops_the_call_before_it_starts(client, ledger, in_step):
    provider = Fake()
    ledger.refuse_reserve = LeaseLost()

    with pytest.raises(LeaseLost):
        await client(provider).complete("hi")

    assert provider.requests == []
    assert ledger.outcomes == {}


async def test_budget_stops_the_call_before_it_starts(client, ledger, in_step):
    provider = Fake()
    ledger.refuse_reserve = BudgetExceededError("too much")

    with pytest.raises(BudgetExceededError):
        await client(provider).complete("hi")

    assert provider.requests == []


async def test_waiting_for_the_lane_reserves_no_money(client, ledger, lanes, in_step):
    await lanes.adjust_lane(LaneAdjustment(lane="fake:m", pause_seconds=1_000))
    llm = client(Fake())
    task = asyncio.create_task(llm.complete("hi"))
    for _ in range(20):
        await asyncio.sleep(0)

    assert ledger.intents == []
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert ledger.intents == []
    await llm.close()


async def test_call_over_its_time_limit_is_cut_off_and_booked_by_estimate(client, ledger, in_step):
    provider = Fake("hang")

    with pytest.raises(ProviderTimeoutError) as caught:
        await client(provider).complete("x" * 400, timeout_seconds=0.02)

    assert provider.cancelled
    assert caught.value.transient
    assert caught.value.__cause__ is None
    assert ledger.only.status is CallStatus.FAILED
    assert ledger.only.error_code == "provider_timeout"
    assert (ledger.only.input_tokens, ledger.only.output_tokens) == (104, 0)


async def test_cancel_cuts_the_call_off_books_it_and_goes_on(client, ledger, in_step):
    provider = Fake("hang")
    task = asyncio.create_task(client(provider).complete("hi"))
    await provider.started.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert provider.cancelled
    assert ledger.only.status is CallStatus.FAILED
    assert ledger.only.error_code == "cancelled"


async def test_cancel_during_booking_lets_the_booking_end(client, ledger, in_step):
    ledger.settling = asyncio.Event()
    provider = Fake()
    task = asyncio.create_task(client(provider).complete("hi"))
    await provider.started.wait()
    for _ in range(10):
        await asyncio.sleep(0)

    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    ledger.settling.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.only.status is CallStatus.SETTLED


async def test_booking_that_does_not_end_after_a_cancel_is_given_up(
    client, ledger, in_step, monkeypatch
):
    monkeypatch.setattr("holdfast.llm.budget.UNBROKEN_SECONDS_MAX", 0.02)
    ledger.settling = asyncio.Event()
    provider = Fake()
    task = asyncio.create_task(client(provider).complete("hi"))
    await provider.started.wait()
    for _ in range(10):
        await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.outcomes == {}


async def test_booking_that_fails_after_a_cancel_is_logged(client, ledger, in_step, caplog):
    ledger.settling = asyncio.Event()
    ledger.refuse_settle = [RuntimeError("bug")]
    provider = Fake()
    task = asyncio.create_task(client(provider).complete("hi"))
    await provider.started.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    ledger.settling.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert "booking failed after a cancel" in caplog.text


async def test_cancel_while_reserving_books_a_call_that_never_went_out(client, ledger, in_step):
    provider = Fake()
    ledger.reserving = asyncio.Event()
    task = asyncio.create_task(client(provider).complete("hi"))
    await until(lambda: ledger.intents)

    task.cancel()
    await asyncio.sleep(0)
    ledger.reserving.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert provider.requests == []
    assert ledger.only.error_code == "cancelled"
    assert (ledger.only.input_tokens, ledger.only.usd) == (0, 0)


async def test_cancel_with_a_lost_lease_is_still_a_cancel(client, ledger, in_step):
    ledger.refuse_settle = [LeaseLost()]
    provider = Fake("hang")
    task = asyncio.create_task(client(provider).complete("hi"))
    await provider.started.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("end", [reply(), ProviderUnavailableError("down")])
async def test_lease_lost_at_booking_is_raised(client, ledger, in_step, end):
    ledger.refuse_settle = [LeaseLost()]

    with pytest.raises(LeaseLost):
        await client(Fake(end)).complete("hi")


async def until(true):
    for _ in range(1_000):
        if true():
            return
        await asyncio.sleep(0)
    pytest.fail("it never became true")


async def test_paid_answer_survives_a_store_that_is_away_and_its_booking_is_owed(
    client, ledger, in_step, owed
):
    ledger.refuse_settle = [StoreUnavailableError("away")]

    assert await client(Fake()).complete("hi") == "hello"

    assert ledger.outcomes == {}
    [booking] = owed.values()
    await booking()
    assert ledger.only.status is CallStatus.SETTLED


async def test_refused_call_costs_nothing_and_pauses_the_whole_lane(client, ledger, lanes, in_step):
    error = RateLimitedError("429", retry_after=timedelta(seconds=7))

    with pytest.raises(RateLimitedError) as caught:
        await client(Fake(error)).complete("hi")

    assert caught.value.retry_after == timedelta(seconds=7)
    assert lanes.adjustments == [LaneAdjustment(lane="fake:m", pause_seconds=7)]
    assert ledger.only.usd == 0
    assert ledger.only.error_code == "rate_limited"


async def test_truncated_answer_is_booked_as_paid_and_failed(client, ledger, in_step):
    with pytest.raises(TruncatedResponseError) as caught:
        await client(Fake(reply("secret text", finish_reason="length"))).complete("hi")

    assert "secret" not in str(caught.value)
    assert ledger.only.status is CallStatus.FAILED
    assert ledger.only.error_code == "truncated_response"
    assert ledger.only.output_tokens == 7


async def test_answer_that_does_not_fit_is_booked_as_paid(client, ledger, in_step):
    with pytest.raises(InvalidResponseError):
        await client(Fake(reply("no json"))).complete("hi", output=Verdict)

    assert ledger.only.status is CallStatus.SETTLED


async def test_usage_that_the_endpoint_does_not_tell_is_estimated(client, ledger, in_step):
    await client(Fake(reply("x" * 40, usage=None))).complete("y" * 40)

    assert (ledger.only.input_tokens, ledger.only.output_tokens) == (14, 10)


async def test_unknown_price_is_null_and_never_zero(client, ledger, in_step):
    await client(Fake(), price=None).complete("hi")

    assert ledger.intents[0].reserved_usd is None
    assert ledger.only.usd is None


async def test_scripted_provider_is_known_to_be_free(ledger, lanes, in_step):
    model = ModelConfig(model="scripted", provider="scripted")
    llm = LLM(LLMConfig.single(model), {"scripted": Scripted()}, lanes=lanes, ledger=ledger)

    text = await llm.complete("hi")

    assert text.startswith("[sample]")
    assert await llm.complete("hi") == text
    assert {outcome.usd for outcome in ledger.outcomes.values()} == {Decimal(0)}
    await llm.close()


def test_configuration_that_cannot_work_is_refused():
    with pytest.raises(ConfigError, match="names provider 'openai'"):
        LLM(LLMConfig.single(ModelConfig(model="m")), {})
    with pytest.raises(ValueError, match="default model"):
        LLMConfig(default_model="a", models={})
    with pytest.raises(ValueError, match="rate_share"):
        LLMConfig(default_model="m", models={"m": ModelConfig(model="m")}, rate_share=2)
    with pytest.raises(ValueError, match="max_output_tokens"):
        ModelConfig(model="m", max_output_tokens=0)
    with pytest.raises(ValueError, match="timeout_seconds"):
        ModelConfig(model="m", timeout_seconds=0)
    with pytest.raises(ValueError, match="price"):
        Price(input_per_million=Decimal(-1), output_per_million=Decimal(1))


async def test_model_that_is_not_configured_is_refused(client):
    with pytest.raises(ConfigError, match="'other' is not configured"):
        await client(Fake()).complete("hi", model="other")


async def test_requests_and_replies_show_no_text():
    provider = Fake()
    await LLM(LLMConfig.single(ModelConfig(model="m", provider="fake")), {"fake": provider}).complete(
        "secret prompt"
    )

    assert "secret" not in repr(provider.requests)
    assert "hello" not in repr(reply())


# --- streams -----------------------------------------------------------------------------------


async def test_stream_gives_text_as_it_comes_to_caller_and_step(client, ledger, in_step, deltas):
    stream = client(Fake("Hel", "lo", reply("Hello"))).stream("hi")

    seen = [delta async for delta in stream]

    assert seen == deltas == ["Hel", "lo"]
    assert stream.text == "Hello"
    assert stream.usage == TokenUsage(input_tokens=40, cached_tokens=10, output_tokens=7)
    assert ledger.only.status is CallStatus.SETTLED


async def test_stream_can_be_read_one_by_one_outside_of_a_step(client):
    stream = client(Fake("Hel", "lo", reply("Hello"))).stream("hi")

    assert stream.usage is None
    assert await anext(stream) == "Hel"
    await stream.aclose()


async def test_leaving_a_stream_early_books_what_came(client, ledger, in_step):
    async with client(Fake("x" * 40, "hang")).stream("y" * 40) as stream:
        async for _ in stream:
            break

    assert ledger.only.status is CallStatus.FAILED
    assert ledger.only.error_code == "cancelled"
    assert (ledger.only.input_tokens, ledger.only.output_tokens) == (14, 10)


async def test_stream_that_breaks_off_is_booked_with_its_partial_text(client, ledger, in_step):
    with pytest.raises(ProviderUnavailableError):
        async for _ in client(Fake("x" * 40, ProviderUnavailableError("cut"))).stream("y" * 40):
            pass

    assert ledger.only.output_tokens == 10


async def test_stream_without_an_end_is_an_error(client):
    with pytest.raises(ProviderUnavailableError, match="ended a stream before its answer"):
        async for _ in client(Fake("half")).stream("hi"):
            pass


async def let_pass(seconds):
    """Let time of the event loop pass, by which provider calls are timed."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)


async def test_stream_that_hangs_ends_at_its_limit_and_a_slow_reader_does_not(client):
    stream = client(Fake("a", "hang")).stream("hi", timeout_seconds=0.05)
    assert await anext(stream) == "a"
    await let_pass(0.06)

    with pytest.raises(ProviderTimeoutError):
        await anext(stream)

    patient = client(Fake("a", "b", reply("ab"))).stream("hi", timeout_seconds=0.05)
    assert await anext(patient) == "a"
    await let_pass(0.06)
    assert [delta async for delta in patient] == ["b"]


async def test_stream_that_was_truncated_says_so_at_its_end(client):
    stream = client(Fake("half", reply("half", finish_reason="length"))).stream("hi")

    with pytest.raises(TruncatedResponseError):
        async for _ in stream:
            pass
    assert stream.text == "half"


# --- what answers teach --------------------------------------------------------------------------


def limits(**fields):
    return reply(limits=LimitHeaders(**fields))


async def test_limits_are_learnt_from_headers_and_never_exceed_the_configured_share(client):
    provider = Fake(limits(requests_limit=100, tokens_limit=5_000), reply())
    llm = client(provider, tokens_per_minute=3_000)

    await llm.complete("hi", max_output_tokens=1)
    model = llm._model(None)
    wanted = llm._pipeline.keeper.request(model, input_tokens=1, max_output_tokens=10)

    assert wanted.requests_per_minute == pytest.approx(98)
    assert wanted.tokens_per_minute == pytest.approx(2_940)
    await llm.close()


async def test_two_answers_in_a_row_with_little_room_left_lower_the_buckets(client, lanes):
    short = limits(tokens_remaining=50.0)
    llm = client(Fake(short, reply(), short, short, reply()), tokens_per_minute=60_000)

    for _ in range(3):
        await llm.complete("hi", max_output_tokens=1)
    assert lanes.adjustments == []
    await llm.complete("hi", max_output_tokens=1)

    assert lanes.adjustments == [LaneAdjustment(lane="fake:m", tokens_remaining=50)]


async def test_several_refusals_lower_the_rate_and_lengthen_the_pause(client, lanes):
    clock = ManualClock()
    keeper = client(Fake())._pipeline.keeper
    keeper._clock = clock
    model = ModelConfig(model="m", provider="fake")

    waits = [(await keeper.refused(model, None)).total_seconds() for _ in range(3)]
    clock.advance(11)
    waits.append((await keeper.refused(model, None)).total_seconds())

    assert waits == [1, 2, 4, 1]
    factors = [each.rate_factor for each in lanes.adjustments if each.rate_factor is not None]
    assert factors == [pytest.approx(0.9), pytest.approx(0.81, abs=0.01)]


@pytest.mark.parametrize(
    ("rule", "tokens"),
    [(ChargingRule.OPENAI, 100), (ChargingRule.SUM, 140), (ChargingRule.ANTHROPIC, 140)],
)
async def test_lane_is_charged_by_the_providers_rule(client, rule, tokens):
    keeper = client(Fake())._pipeline.keeper
    model = ModelConfig(model="m", provider="fake", charging=rule)

    wanted = keeper.request(model, input_tokens=40, max_output_tokens=100)

    assert wanted.tokens == tokens


async def test_openai_charges_the_prompt_when_it_is_larger_than_the_output_limit(client):
    keeper = client(Fake())._pipeline.keeper

    wanted = keeper.request(
        ModelConfig(model="m", provider="fake"), input_tokens=500, max_output_tokens=100
    )

    assert wanted.tokens == 500


async def test_anthropics_rule_gives_back_what_was_not_used_and_learns_from_it(client, lanes):
    llm = client(Fake(), charging=ChargingRule.ANTHROPIC)

    await llm.complete("x" * 144, max_output_tokens=100)
    wanted = llm._pipeline.keeper.request(llm._model(None), input_tokens=40, max_output_tokens=100)

    assert lanes.adjustments == [LaneAdjustment(lane="fake:m", refund_tokens=140 - 47)]
    assert wanted.tokens == 40 + round(100 * (0.8 + 0.2 * 0.07))


class LostLanes:
    async def take_lane(self, request):
        return LaneGrant(granted=True)

    async def adjust_lane(self, adjustment):
        raise StoreUnavailableError("away")


async def test_store_that_is_away_does_not_hide_what_the_provider_said(ledger, in_step, caplog):
    fake = Fake(RateLimitedError("429"), AccountRefusedError("401", reason="invalid_api_key"), reply())
    model = ModelConfig(model="m", provider="fake", charging=ChargingRule.ANTHROPIC)
    llm = LLM(LLMConfig.single(model), {"fake": fake}, lanes=LostLanes(), ledger=ledger)

    with pytest.raises(RateLimitedError):
        await llm.complete("hi")
    with pytest.raises(LaneHeldError):
        await llm.complete("hi")
    assert await llm.complete("hi") == "hello"
    assert len([each for each in caplog.records if "store unavailable" in each.message]) == 3


async def test_refused_account_parks_the_lane_with_one_log_line(client, lanes, ledger, in_step, caplog):
    caplog.set_level(logging.ERROR)
    refused = [AccountRefusedError("quota", reason="insufficient_quota") for _ in range(2)]
    provider = Fake(*refused)
    llm = client(provider)

    ended = await asyncio.gather(*(llm.complete("hi") for _ in range(2)), return_exceptions=True)
    with pytest.raises(LaneHeldError, match="insufficient_quota"):
        await llm.complete("hi")

    assert all(isinstance(error, LaneHeldError) for error in ended)
    assert len(provider.requests) == 2
    assert len(caplog.records) == 1
    assert all(outcome.usd == 0 for outcome in ledger.outcomes.values())
    assert isinstance(ended[0], LLMError)


@pytest.mark.parametrize("option", ["max_tokens", "timeout", "response_format"])
async def test_unknown_option_is_refused_with_the_known_ones(option):
    llm = LLM(LLMConfig.single(ModelConfig(model="m", provider="scripted")), {"scripted": Scripted()})
    options: Any = {option: 3}

    with pytest.raises(
        TypeError, match=f"unknown options \\['{option}'\\]; options are .*max_output_tokens"
    ):
        await llm.complete("hello", **options)

    await llm.close()
