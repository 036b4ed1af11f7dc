"""The writing part of a report: as a durable job within the limits, or call after call with pauses."""

import asyncio
import time
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.sides.program import main, run_async
from bench.sides.report import facts_of, manifest_of, request
from holdfast.apps.reports.astro import Precomputed
from holdfast.apps.reports.manifest import Batch
from holdfast.apps.reports.models import ReportRequest
from holdfast.apps.reports.writing import Writer, write_manifest
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
from holdfast.store import open_store
from holdfast.store.base import Store

BURST_SECONDS = 2.0
"""The client's own default, brought to the provider's time by the scale."""
PAUSE_SECONDS = 2.0
"""Between the calls of the published design."""


def model_client(base_url: str, store: Store | None, limits: dict[str, float] | None) -> LLM:
    """Return the client: with lanes and ledger in the store, or bare."""
    model = ModelConfig(model="bench", price=FREE, max_output_tokens=16_000, timeout_seconds=600)
    if limits is not None:
        scale = limits["time_scale"]
        model = ModelConfig(
            model="bench",
            price=FREE,
            max_output_tokens=16_000,
            timeout_seconds=600,
            requests_per_minute=limits["rpm"] * scale,
            tokens_per_minute=limits["tpm"] * scale,
            burst_seconds=BURST_SECONDS / scale,
        )
    provider = OpenAIProvider(api_key="none", base_url=base_url)
    return LLM(LLMConfig.single(model), {"openai": provider}, lanes=store, ledger=store)


async def durable(
    folder: str, base_url: str, days: int, concurrency: int | None, **limits: float
) -> dict[str, Any]:
    """Write the report as a job, as the product does it, and time the writing inside of the job."""
    report = request(days=days, concurrency=concurrency)
    facts, manifest, clock = facts_of(report), manifest_of(report), SystemClock()
    store = await open_store(f"sqlite:///{folder}/holdfast.db", clock)
    llm = model_client(base_url, store, limits)
    artifacts = LocalArtifacts(Path(folder) / "artifacts", clock)
    services = Services(store=store, artifacts=artifacts, clock=clock, resources={LLM: llm})
    registry, dispatcher = Registry(), LocalDispatcher(store.hints)

    async def write(job: JobContext) -> dict[str, Any]:
        began, cpu = time.perf_counter(), time.process_time()
        written = await write_manifest(job, manifest, facts, report.options)
        return {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu,
            "answers": written.answers,
            "calls": len(manifest),
        }

    registry.add("write", write)
    worker = Worker(services, registry, dispatcher)
    await worker.start()
    try:
        client = JobClient(store, registry, dispatcher, artifacts)
        found: dict[str, Any] = await client.result((await client.submit("write")).job_id)
        return found
    finally:
        await worker.drain()
        await llm.close()
        await store.close()


async def sequential(
    base_url: str, days: int, calls_of_kind: dict[str, int], time_scale: float
) -> dict[str, Any]:
    """Make some calls of each kind one after another, with pauses, and scale up to the manifest."""
    report = request(days=days, concurrency=None)
    facts = facts_of(report)
    llm = model_client(base_url, None, None)
    seconds, measured = 0.0, 0
    try:
        for kind, batches in _by_kind(report).items():
            sample = batches[: calls_of_kind[kind]]
            each = await _one_after_another(llm, sample, facts, report, time_scale) / len(sample)
            seconds += each * len(batches)
            measured += len(sample)
    finally:
        await llm.close()
    return {"seconds": seconds, "measured": measured}


async def _one_after_another(
    llm: LLM, batches: list[Batch], facts: Precomputed, report: ReportRequest, time_scale: float
) -> float:
    writer = Writer(llm, facts, report.options)
    began = time.perf_counter()
    for batch in batches:
        await writer.write(batch)
        await asyncio.sleep(PAUSE_SECONDS / time_scale)
    return time.perf_counter() - began


def _by_kind(report: ReportRequest) -> dict[str, list[Batch]]:
    ordered = sorted(manifest_of(report), key=lambda batch: batch.kind)
    return {kind: list(group) for kind, group in groupby(ordered, key=lambda batch: batch.kind)}


def measure(*, folder: str, work: str, **given: Any) -> Any:
    if work == "sequential":
        return run_async(sequential(**given))
    return run_async(durable(folder, **given))


if __name__ == "__main__":
    main(measure)
