"""The simulated provider: an auditor must itself be right."""

import asyncio
import json
import signal
import sys

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.testing.provider import (
    Fault,
    FaultKind,
    FaultPlan,
    ProviderBehaviour,
    ProviderSimulator,
)
from holdfast.testing.provider.limits import QuotaLimits, charged_tokens, go_text


def body(text="hi", **fields):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(session, provider, text="hi", *, headers=None, **fields):
    url = f"{provider.base_url}/chat/completions"
    async with session.post(url, json=body(text, **fields), headers=headers) as response:
        return response.status, dict(response.headers), await response.json()


async def test_answers_are_counted_and_told_apart_by_body(session):
    async with ProviderSimulator() as provider:
        await ask(session, provider, "a")
        await ask(session, provider, "a")
        status, _, answer = await ask(session, provider, "b [tag:daily/3]")
        await ask(session, provider, "a", headers={"X-Holdfast-Tag": "retry"})

    summary = provider.journal.summary()
    records = provider.journal.records
    assert status == 200
    assert summary["answered"] == 4
    assert list(summary["answered_more_than_once"].values()) == [3]
    assert [record.tag for record in records] == ["", "", "daily/3", "retry"]
    assert answer["usage"]["completion_tokens"] == records[2].output_tokens


async def test_limits_are_openais_and_headers_tell_them(session):
    behaviour = ProviderBehaviour(rpm=60, tpm=6_000, window_seconds=10)
    async with ProviderSimulator(behaviour) as provider:
        first, headers, _ = await ask(session, provider, max_tokens=900)
        second, _, _ = await ask(session, provider, max_tokens=50)
        third, refused, error = await ask(session, provider, max_tokens=900)

    assert (first, second, third) == (200, 200, 429)
    assert headers["x-ratelimit-limit-tokens"] == "6000"
    assert headers["x-ratelimit-remaining-tokens"] == "5100"
    assert error["error"]["code"] == "rate_limit_exceeded"
    assert 8_000 < int(refused["retry-after-ms"]) <= 9_000
    assert int(refused["Retry-After"]) in {9, 10}
    assert provider.journal.summary()["refused_429"] == 1
    assert not provider.journal.records[2].answered


def test_charge_is_the_larger_of_output_limit_and_prompt():
    assert charged_tokens(body("x" * 400, max_tokens=10)) == 100
    assert charged_tokens(body("x" * 400, max_completion_tokens=500)) == 500


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 500)), min_size=1, max_size=80))
def test_admitted_never_passes_rate_times_time_plus_window(arrivals):
    limits = QuotaLimits(rpm=600, tpm=6_000, window_seconds=10, now=0)
    now, tokens, requests = 0.0, 0, 0
    for pause, size in arrivals:
        now += pause
        if limits.admit(size, now).refused_by is None:
            tokens += size
            requests += 1

    assert tokens <= 100 * now + 1_000 + 1e-3
    assert requests <= 10 * now + 100 + 1e-3


def test_durations_are_written_as_go_does():
    assert [go_text(each) for each in (360, 0.012, 1.5, 0)] == ["6m0s", "12ms", "1.5s", "0ms"]


async def test_faults_by_script_chance_and_match():
    plan = FaultPlan(script={2: Fault(kind=FaultKind.RESET)}, chances={FaultKind.HANG: 1.0})
    plan.order(Fault(kind=FaultKind.QUOTA, match="daily", times=2))

    drawn = [plan.draw(number, tag=tag, prompt="") for number, tag in ((1, "daily"), (2, ""), (3, ""))]

    assert [fault and fault.kind for fault in drawn] == [
        FaultKind.QUOTA,
        FaultKind.RESET,
        FaultKind.HANG,
    ]
    assert plan.pending == 1
    plan.clear()
    assert plan.draw(4, tag="daily", prompt="") is None


def test_chances_are_the_same_for_the_same_seed():
    def draws(seed):
        plan = FaultPlan(chances={FaultKind.RESET: 0.3}, seed=seed)
        return [plan.draw(number, tag="", prompt="") is not None for number in range(50)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert 3 < sum(draws(1)) < 30


async def test_faults_can_be_ordered_and_the_log_read_over_http(session):
    async with ProviderSimulator() as provider:
        control = provider.base_url.removesuffix("/v1") + "/_control"
        order = {"faults": [{"kind": "server_error", "status": 503}]}
        async with session.post(f"{control}/faults", json=order) as ordered:
            assert (ordered.status, await ordered.json()) == (201, {"pending": 1})
        status, _, _ = await ask(session, provider)
        assert status == 503
        async with session.get(f"{control}/log") as log:
            told = await log.json()
        assert told["calls"][0]["fault"] == "server_error"
        assert told["summary"]["calls"] == 1
        for wrong in (
            {"faults": [{"kind": "nonsense"}]},
            {"faults": [{"kind": "hang", "x": 1}]},
            {},
        ):
            async with session.post(f"{control}/faults", json=wrong) as refused:
                assert refused.status == 400
        async with session.delete(f"{control}/faults") as cleared:
            assert await cleared.json() == {"pending": 0}
        async with session.get(f"{provider.base_url}/models") as models:
            assert (await models.json())["data"] == []
        async with session.post(f"{provider.base_url}/chat/completions", data=b"{") as broken:
            assert broken.status == 400


async def test_answer_longer_than_its_limit_is_truncated(session):
    async with ProviderSimulator(writer=lambda _: "x" * 400) as provider:
        _, _, answer = await ask(session, provider, max_tokens=10)

    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 10


async def test_hundreds_of_calls_at_once_are_answered():
    arrived, all_arrived = 0, asyncio.Event()

    async def write(_):
        nonlocal arrived
        arrived += 1
        if arrived == 300:
            all_arrived.set()
        await all_arrived.wait()
        return "answer"

    async with (
        ProviderSimulator(writer=write) as provider,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        answers = await asyncio.gather(
            *(ask(session, provider, f"question {number}") for number in range(300))
        )

    assert {status for status, _, _ in answers} == {200}
    assert provider.journal.summary()["peak_concurrent"] == 300


async def test_answers_take_their_time_by_tokens_and_scale(session):
    behaviour = ProviderBehaviour(first_token_seconds=6, tokens_per_second=10, time_scale=100)
    async with ProviderSimulator(behaviour, writer=lambda _: "x" * 160) as provider:
        await ask(session, provider)

    (record,) = provider.journal.records
    assert (record.ended or 0) - record.started >= (6 + 40 / 10) / 100 - 1e-3


@pytest.mark.process
async def test_server_in_a_process_of_its_own_leaves_its_journal_behind(session, tmp_path):
    journal = tmp_path / "calls.jsonl"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast.testing.provider", "--journal", str(journal)),
        *("--chance", "server_error=0", "--rpm", "600"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        url = line.removeprefix("serving on ").strip()
        async with session.post(f"{url}/chat/completions", json=body()) as response:
            assert response.status == 200
        process.send_signal(signal.SIGKILL)
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    events = [json.loads(each) for each in journal.read_text().splitlines()]
    assert [event["event"] for event in events] == ["started", "ended"]
    assert events[1]["answered"]
