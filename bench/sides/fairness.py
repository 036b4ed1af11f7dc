"""Workers on one store and one lane: some run a large job each, another a small one."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.sides.program import main, run_async
from holdfast.artifacts.local import LocalArtifacts
from holdfast.clock import SystemClock
from holdfast.dispatch.local import LocalDispatcher
from holdfast.engine.attempt import Services
from holdfast.engine.client import JobClient
from holdfast.engine.context import JobContext
from holdfast.engine.registry import Registry
from holdfast.engine.worker import Worker
from holdfast.llm import LLM, LLMConfig, ModelConfig
from holdfast.llm.config import FREE
from holdfast.llm.providers.openai import OpenAIProvider
from holdfast.model import JobStatus
from holdfast.store import open_store
from holdfast.store.base import Store

LARGE, SMALL = "large", "small"
BURST_SECONDS = 2.0
"""The client's own default, brought to the provider's time by the scale."""
_BEGUN_CALLS = 10
"""The lane counts as saturated once the large jobs have so many calls in flight."""
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Process:
    """What each process is made of."""

    store: Store
    client: JobClient


async def calls(job: JobContext, asked: dict[str, Any]) -> None:
    """Make some calls, all at once or one after another."""
    llm = job.resource(LLM)

    async def call(number: int) -> int:
        text = await llm.complete(
            f"call {number}", max_output_tokens=asked["tokens"], urgency=asked["urgency"]
        )
        return len(text)

    at_once = 1 if asked["in_turn"] else asked["calls"]
    await job.map("calls", range(asked["calls"]), call, concurrency=at_once)


def model_client(base_url: str, store: Store, rpm: float, tpm: float, time_scale: float) -> LLM:
    model = ModelConfig(
        model="bench",
        price=FREE,
        timeout_seconds=600,
        requests_per_minute=rpm * time_scale,
        tokens_per_minute=tpm * time_scale,
        burst_seconds=BURST_SECONDS / time_scale,
    )
    provider = OpenAIProvider(api_key="none", base_url=base_url)
    return LLM(LLMConfig.single(model), {"openai": provider}, lanes=store, ledger=store)


@contextlib.asynccontextmanager
async def worker_of(queue: str, home: str, base_url: str, **limits: float) -> AsyncIterator[Process]:
    """Run a worker that serves one queue."""
    clock = SystemClock()
    store = await open_store(f"sqlite:///{home}/holdfast.db", clock)
    llm = model_client(base_url, store, **limits)
    artifacts = LocalArtifacts(Path(home) / "artifacts", clock)
    services = Services(store=store, artifacts=artifacts, clock=clock, resources={LLM: llm})
    registry, dispatcher = Registry(), LocalDispatcher(store.hints)
    registry.add("calls", calls)
    worker = Worker(services, registry, dispatcher, queues=(queue,), slots=1)
    await worker.start()
    try:
        yield Process(store, JobClient(store, registry, dispatcher, artifacts))
    finally:
        await worker.drain()
        await llm.close()
        await store.close()


async def serve(**settings: Any) -> None:
    async with worker_of(LARGE, **settings):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


async def compare(
    large: dict[str, Any], small: dict[str, Any], processes: int, **settings: Any
) -> dict[str, Any]:
    """Run the small job alone, then beside a large one in each of the other processes."""
    async with worker_of(SMALL, **settings) as process:
        await _timed(process.client, {**small, "calls": 1})  # connects, and loads what is loaded late
        alone = await _timed(process.client, small)
        busy = [
            (await process.client.submit("calls", large, queue=LARGE)).job_id for _ in range(processes)
        ]
        for job_id in busy:
            await _begun(process.store, job_id, large["tokens"] * _BEGUN_CALLS // processes)
        beside = await _timed(process.client, small)
        found = [await process.store.get_job(job_id) for job_id in busy]
        still_running = all(job.status is JobStatus.RUNNING for job in found)
        return {"alone": alone, "beside": beside, "large_still_running": still_running}


async def _begun(store: Store, job_id: str, tokens: int) -> None:
    """Wait until a job of another process, seen through the store alone, has tokens reserved."""
    reserved = 0
    while reserved < tokens:
        await asyncio.sleep(_LOOK_SECONDS)
        reserved = (await store.get_job(job_id)).usage.reserved_tokens


async def _timed(client: JobClient, asked: dict[str, Any]) -> float:
    began = time.perf_counter()
    job = await client.submit("calls", asked, queue=SMALL)
    await client.result(job.job_id)
    return time.perf_counter() - began


def measure(*, folder: str | None = None, role: str, **settings: Any) -> Any:
    del folder  # the processes share another one, `home`
    return run_async(serve(**settings) if role == LARGE else compare(**settings))


if __name__ == "__main__":
    main(measure)
