"""The offline provider."""

import asyncio
import json

from holdfast.llm.providers.base import OutputSchema, ProviderReply, ProviderRequest, TokenUsage
from holdfast.llm.providers.scripted import Scripted, request_hash, write_sample
from holdfast.testing.clock import ManualClock


def request(text="hi", call_id="call_1", schema=None):
    return ProviderRequest(
        call_id=call_id,
        model="scripted",
        messages=({"role": "user", "content": text},),
        max_output_tokens=100,
        output_schema=None if schema is None else OutputSchema(name="o", schema=schema, strict=True),
    )


def test_hash_is_of_the_question_and_not_of_the_call():
    assert request_hash(request(call_id="a")) == request_hash(request(call_id="b"))
    assert request_hash(request("a")) != request_hash(request("b"))
    assert request_hash(request()) != request_hash(request(schema={"type": "object"}))


def test_sample_varies_with_the_question():
    assert write_sample(request("a")) != write_sample(request("b"))


async def test_writer_may_be_plain_or_async():
    async def write(asked):
        return json.dumps({"asked": asked.messages[0]["content"]})

    assert (await Scripted(lambda _: "plain").complete(request())).text == "plain"
    assert (await Scripted(write).complete(request())).text == '{"asked": "hi"}'


async def test_reply_counts_tokens():
    reply = await Scripted(lambda _: "x" * 40).complete(request("y" * 40))

    assert reply.usage == TokenUsage(input_tokens=14, output_tokens=10)


async def test_latency_is_spent_on_the_clock():
    clock = ManualClock()
    provider = Scripted(lambda _: "x" * 400, tokens_per_second=10, clock=clock)
    task = asyncio.create_task(provider.complete(request()))
    for _ in range(10):
        await asyncio.sleep(0)
    assert clock.sleeping == 1

    clock.advance(9.9)
    await asyncio.sleep(0)
    assert not task.done()
    clock.advance(0.1)

    assert (await task).text


async def test_stream_is_the_answer_in_pieces_and_then_whole():
    parts = [part async for part in Scripted().stream(request())]

    assert isinstance(parts[-1], ProviderReply)
    assert "".join(str(part) for part in parts[:-1]) == parts[-1].text
    await Scripted().close()
