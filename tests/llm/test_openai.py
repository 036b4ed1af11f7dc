"""The real SDK against the simulator: every failure has its error, and nothing leaks."""

import asyncio
import logging
import traceback
from datetime import UTC, datetime, timedelta

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from holdfast.errors import (
    AccountRefusedError,
    ContentRefusedError,
    ContextTooLongError,
    InvalidResponseError,
    LaneHeldError,
    LLMError,
    ProviderRequestError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    TruncatedResponseError,
)
from holdfast.llm import LLM, LLMConfig, ModelConfig
from holdfast.llm.providers.base import ProviderRequest, Tool, ToolCall
from holdfast.llm.providers.openai import OpenAIProvider, _reply
from holdfast.llm.providers.openai_errors import translate
from holdfast.llm.providers.tokens import estimate_input
from holdfast.model import CallStatus
from holdfast.testing.provider import Fault, FaultKind, ProviderBehaviour, ProviderSimulator

SECRET_KEY = "sk-verysecretkey1234"
SECRET_PROMPT = "my private birthday is the ides of march"


class Section(BaseModel):
    title: str
    paragraphs: list[str]


CASES: list[tuple[Fault, type[LLMError]]] = [
    (Fault(kind=FaultKind.RATE_LIMIT), RateLimitedError),
    (Fault(kind=FaultKind.RATE_LIMIT, retry_after_seconds=3), RateLimitedError),
    (Fault(kind=FaultKind.RATE_LIMIT, code="slow_down"), RateLimitedError),
    (Fault(kind=FaultKind.QUOTA), LaneHeldError),
    (Fault(kind=FaultKind.QUOTA, code="credit_balance_exhausted"), LaneHeldError),
    (Fault(kind=FaultKind.QUOTA, code="project_spend_limit_exceeded"), LaneHeldError),
    (Fault(kind=FaultKind.QUOTA, code="monthly_usage_limit_exceeded"), LaneHeldError),
    (Fault(kind=FaultKind.UNAUTHORIZED), LaneHeldError),
    (Fault(kind=FaultKind.SERVER_ERROR), ProviderUnavailableError),
    (
        Fault(kind=FaultKind.SERVER_ERROR, status=503, retry_after_seconds=2),
        ProviderUnavailableError,
    ),
    (Fault(kind=FaultKind.SERVER_ERROR, status=408), ProviderUnavailableError),
    (Fault(kind=FaultKind.SERVER_ERROR, status=409), ProviderUnavailableError),
    (Fault(kind=FaultKind.SERVER_ERROR, status=402), LaneHeldError),
    (Fault(kind=FaultKind.SERVER_ERROR, status=403, code="invalid_api_key"), LaneHeldError),
    (Fault(kind=FaultKind.SERVER_ERROR, status=403), ProviderRequestError),
    (Fault(kind=FaultKind.SERVER_ERROR, status=404), ProviderRequestError),
    (Fault(kind=FaultKind.BAD_REQUEST), ProviderRequestError),
    (Fault(kind=FaultKind.BAD_REQUEST, code="context_length_exceeded"), ContextTooLongError),
    (Fault(kind=FaultKind.BAD_REQUEST, code="content_filter"), ContentRefusedError),
    (Fault(kind=FaultKind.RESET), ProviderUnavailableError),
    (Fault(kind=FaultKind.CUT_STREAM), ProviderUnavailableError),
    (Fault(kind=FaultKind.SILENT_CUT), ProviderUnavailableError),
    (Fault(kind=FaultKind.MALFORMED_JSON), ProviderUnavailableError),
    (Fault(kind=FaultKind.EMPTY), ProviderUnavailableError),
    (Fault(kind=FaultKind.TRUNCATED), TruncatedResponseError),
    (Fault(kind=FaultKind.REFUSAL), ContentRefusedError),
    (Fault(kind=FaultKind.CONTENT_FILTER), ContentRefusedError),
]
TEXT_CASES: list[tuple[Fault, type[LLMError]]] = [
    (Fault(kind=FaultKind.BROKEN_OUTPUT), InvalidResponseError),
    (Fault(kind=FaultKind.WRONG_SCHEMA), InvalidResponseError),
]


def name(case):
    return f"{case.kind}-{case.code or case.status}" if isinstance(case, Fault) else None


@pytest.mark.parametrize(("fault", "expected"), CASES + TEXT_CASES, ids=name)
async def test_failed_call_has_its_error_is_booked_and_leaks_nothing(
    llm, provider, ledger, caplog, fault, expected
):
    caplog.set_level(logging.DEBUG)
    provider.faults.order(fault)

    with pytest.raises(expected) as caught:
        await llm.complete(SECRET_PROMPT, system="context", output=Section)

    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert SECRET_KEY not in told
    assert SECRET_PROMPT not in told
    assert len(provider.journal.records) == 1
    assert len(ledger.outcomes) == 1
    if expected is not InvalidResponseError:
        assert ledger.only.status is CallStatus.FAILED


@pytest.mark.parametrize(("fault", "expected"), CASES, ids=name)
async def test_failed_stream_has_its_error_and_leaks_nothing(
    llm, provider, ledger, caplog, fault, expected
):
    caplog.set_level(logging.DEBUG)
    provider.faults.order(fault)

    with pytest.raises(expected) as caught:
        async with llm.stream(SECRET_PROMPT) as stream:
            async for _ in stream:
                pass

    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert SECRET_KEY not in told
    assert SECRET_PROMPT not in told
    assert ledger.only.status is CallStatus.FAILED


async def test_stream_that_is_cut_books_the_text_that_came(llm, provider, ledger):
    provider.faults.order(Fault(kind=FaultKind.SILENT_CUT, after_tokens=12))

    with pytest.raises(ProviderUnavailableError):
        async for _ in llm.stream("x" * 400):
            pass

    assert ledger.only.output_tokens == 12
    assert ledger.only.input_tokens == 104


async def test_retry_after_of_the_provider_is_kept(llm, provider):
    provider.faults.order(
        Fault(kind=FaultKind.SERVER_ERROR, status=503, retry_after_seconds=9),
        Fault(kind=FaultKind.RATE_LIMIT, retry_after_seconds=3),
    )

    with pytest.raises(ProviderUnavailableError) as unavailable:
        await llm.complete("hi")
    with pytest.raises(RateLimitedError) as limited:
        await llm.complete("hi")

    assert limited.value.retry_after == timedelta(seconds=3)
    assert unavailable.value.retry_after == timedelta(seconds=9)


async def test_answer_is_typed_counted_and_priced(llm, provider, ledger):
    section = await llm.complete("hi", output=Section)

    assert section.paragraphs
    assert ledger.only.output_tokens == provider.journal.records[0].output_tokens
    assert ledger.only.usd > 0
    assert provider.journal.records[0].client_request_id == ledger.intents[0].call_id


async def test_stream_is_the_same_text_as_the_whole_answer(llm, ledger, deltas):
    whole = await llm.complete("hi")
    async with llm.stream("hi") as stream:
        pieces = [piece async for piece in stream]

    assert "".join(pieces) == "".join(deltas) == stream.text
    assert len(pieces) > 3
    assert stream.usage.output_tokens > 0
    assert whole.startswith("[sample]")


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancel_closes_the_socket(llm, provider, ledger, streamed):
    provider.faults.order(Fault(kind=FaultKind.HANG))

    async def call():
        if not streamed:
            return await llm.complete("hi")
        return [piece async for piece in llm.stream("hi")]

    task = asyncio.create_task(call())
    await provider.arrivals.acquire()
    task.cancel()

    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(provider.disconnects.acquire(), 10)
    assert task.cancelled()
    assert provider.journal.records[0].disconnected
    assert ledger.only.error_code == "cancelled"


async def test_leaving_a_stream_early_closes_the_socket(make_llm):
    slow = ProviderBehaviour(tokens_per_second=100)
    async with ProviderSimulator(slow) as provider:
        endpoint = OpenAIProvider(api_key="k", base_url=provider.base_url)
        llm = LLM(LLMConfig.single(ModelConfig(model="m")), {"openai": endpoint})

        async with llm.stream("hi") as stream:
            async for _ in stream:
                break

        await asyncio.wait_for(provider.disconnects.acquire(), 10)
        assert provider.journal.records[0].disconnected
        await llm.close()


async def test_hung_call_ends_at_its_limit_and_closes_the_socket(llm, provider, ledger):
    await llm.complete("connects, so that the limit is not spent on that")
    ledger.outcomes.clear()
    provider.faults.order(Fault(kind=FaultKind.HANG))

    with pytest.raises(ProviderTimeoutError):
        await llm.complete("hi", timeout_seconds=0.4)

    await asyncio.wait_for(provider.disconnects.acquire(), 10)
    assert ledger.only.error_code == "provider_timeout"


async def test_endpoint_that_is_not_there_is_unavailable(ledger):
    endpoint = OpenAIProvider(api_key="k", base_url="http://127.0.0.1:9/v1")
    llm = LLM(LLMConfig.single(ModelConfig(model="m")), {"openai": endpoint})

    with pytest.raises(ProviderUnavailableError, match="connection to provider 'openai' failed"):
        await llm.complete("hi")
    await llm.close()


async def test_client_can_be_used_again_after_closing(llm):
    await llm.complete("hi")
    await llm.close()

    assert await llm.complete("hi")


def test_provider_shows_no_key():
    assert SECRET_KEY not in repr(OpenAIProvider(api_key=SECRET_KEY))


async def test_quota_is_used_without_one_refusal():
    """500 RPM and 450k TPM at 20 times the speed, with a server's window of 10 of its seconds."""
    behaviour = ProviderBehaviour(
        rpm=500, tpm=450_000, tokens_per_second=2_000, time_scale=20, window_seconds=10
    )
    async with ProviderSimulator(behaviour, writer=lambda request: "word " * 200) as provider:
        model = ModelConfig(
            model="m",
            requests_per_minute=500 * 20,
            tokens_per_minute=450_000 * 20,
            burst_seconds=2 / 20,
        )
        endpoint = OpenAIProvider(api_key="k", base_url=provider.base_url)
        llm = LLM(LLMConfig.single(model), {"openai": endpoint})
        await llm.complete("connects", max_output_tokens=300)

        sizes = [9_000] * 30 + [6_000] * 6 + [8_000] * 3
        await asyncio.gather(
            *(llm.complete(f"{number}", max_output_tokens=size) for number, size in enumerate(sizes))
        )
        await llm.close()

    summary = provider.journal.summary()
    assert summary["refused_429"] == 0
    assert summary["answered"] == len(sizes) + 1
    assert summary["answered_more_than_once"] == {}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("rate_limit_exceeded", RateLimitedError),
        ("insufficient_quota", AccountRefusedError),
        ("context_length_exceeded", ContextTooLongError),
        ("content_filter", ContentRefusedError),
        ("server_error", ProviderUnavailableError),
        ("text with the secret prompt", ProviderUnavailableError),
    ],
)
def test_error_in_the_middle_of_a_stream_is_known_by_its_code(code, expected):
    request = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions")
    error = openai.APIError("secret text", request=request, body={"code": code, "type": None})

    ours = translate(error, "openai", datetime(2030, 1, 1, tzinfo=UTC))

    assert type(ours) is expected
    assert "secret" not in str(ours)


def test_connection_that_timed_out_is_told_from_one_that_was_lost():
    request = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions")
    now = datetime(2030, 1, 1, tzinfo=UTC)
    late, lost = openai.APITimeoutError(request), openai.APITimeoutError(request)
    late.__cause__ = TimeoutError()
    lost.__cause__ = ConnectionResetError()

    assert type(translate(late, "openai", now)) is ProviderTimeoutError
    assert type(translate(lost, "openai", now)) is ProviderUnavailableError


def request_with_tool(choice: str | None) -> ProviderRequest:
    tool = Tool(name="look_up", description="Looks up.", parameters={"type": "object"}, strict=False)
    return ProviderRequest(
        call_id="call_1",
        model="m",
        messages=({"role": "user", "content": "hi"},),
        max_output_tokens=10,
        tools=(tool,),
        tool_choice=choice,
    )


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        ("required", "required"),
        ("look_up", {"type": "function", "function": {"name": "look_up"}}),
    ],
)
def test_tools_are_offered_in_the_form_of_the_api(choice, sent):
    body = OpenAIProvider(api_key="k")._body(request_with_tool(choice))

    [offered] = body["tools"]
    assert offered["function"] == {
        "name": "look_up",
        "description": "Looks up.",
        "parameters": {"type": "object"},
        "strict": False,
    }
    assert body.get("tool_choice") == sent


def test_tool_calls_of_an_answer_are_read():
    function = {"name": "look_up", "arguments": '{"word": "tide"}'}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_7", "type": "function", "function": function}],
    }
    completion = ChatCompletion.model_validate(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}],
        }
    )

    reply = _reply(completion, "openai", {})

    assert (reply.text, reply.finish_reason) == ("", "tool_calls")
    assert reply.tool_calls == (
        ToolCall(call_id="call_7", name="look_up", arguments='{"word": "tide"}'),
    )


def test_tools_count_towards_the_estimate_of_the_prompt():
    request = request_with_tool(None)

    assert estimate_input(request.messages, None, request.tools) > estimate_input(request.messages, None)
