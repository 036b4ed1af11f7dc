"""A third party's verdict: llmock judges how the client copes with limits and faults."""

import asyncio
import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from holdfast.errors import LLMError
from holdfast.llm import LLM, ChargingRule, LLMConfig, ModelConfig
from holdfast.llm.providers.openai import OpenAIProvider
from holdfast.model import RetryPolicy
from holdfast.retry import next_wait

LLMOCK: Any = shutil.which(
    "llmock", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
)

pytestmark = [
    pytest.mark.llmock,
    pytest.mark.skipif(LLMOCK is None, reason="llmock is not installed"),
    pytest.mark.timeout(60),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
async def llmock():
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(LLMOCK, "serve", "--port", str(port), "--rpm", "1200", "--tpm", "120000"),
        *("--latency-ms", "50", "--log-level", "warning"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:
        for _ in range(2_000):
            try:
                async with session.get(f"{url}/_llmock/scenario"):
                    break
            except aiohttp.ClientError:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asyncio.Event().wait(), 0.01)
    yield url
    process.terminate()
    await process.wait()


async def report(url: str) -> tuple[int | None, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        *(LLMOCK, "report", "--url", url, "--json"), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return process.returncode, json.loads(said)


async def call_with_retries(llm: LLM, prompt: str) -> str:
    """What the engine's step retry does, without an engine."""
    policy, tries = RetryPolicy(base_seconds=0.1), 0
    while True:
        try:
            return await llm.complete(prompt, max_output_tokens=750)
        except LLMError as error:
            tries += 1
            wait = next_wait(policy, error, tries=tries, malformed_tries=0, spread=tries / 10)
            if wait is None:
                raise
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), wait.total_seconds() + 0.05)


@pytest.fixture
async def llm(llmock):
    # llmock charges the estimated prompt plus max_tokens.
    model = ModelConfig(
        model="m", requests_per_minute=1_200, tokens_per_minute=120_000, charging=ChargingRule.SUM
    )
    llm = LLM(LLMConfig.single(model), {"openai": OpenAIProvider(api_key="k", base_url=f"{llmock}/v1")})
    yield llm
    await llm.close()


async def test_client_is_never_refused_and_passes_the_verdict(llmock, llm):
    await asyncio.gather(*(call_with_retries(llm, f"question {number}") for number in range(8)))

    code, verdict = await report(llmock)

    assert code == 0
    assert verdict["calls"] == verdict["attempts"] == 8


async def test_client_with_step_retries_copes_with_faults(llmock, llm):
    faults = [
        {"type": "fail", "status": 429, "times": 1},
        {"type": "fail", "status": 503, "times": 2},
    ]
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{llmock}/_llmock/scenario", json={"behaviors": faults}) as ordered,
    ):
        assert ordered.status == 201, await ordered.text()

    await asyncio.gather(*(call_with_retries(llm, f"question {number}") for number in range(4)))

    code, verdict = await report(llmock)
    assert code == 0, verdict["findings"]
    assert verdict["calls"] == 4
    assert verdict["attempts"] == 7
