"""The product line in a fleet: a worker for each queue, and a customer's side that orders and waits."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.sides import report
from bench.sides.program import main, run_async
from holdfast.apps.reports import register_reports
from holdfast.apps.reports.jobs import parts_of
from holdfast.apps.reports.models import ReportRequest
from holdfast.artifacts.local import LocalArtifacts
from holdfast.clock import SystemClock
from holdfast.dispatch.local import LocalDispatcher
from holdfast.engine.attempt import Services
from holdfast.engine.client import JobClient
from holdfast.engine.registry import Registry
from holdfast.engine.worker import Worker
from holdfast.llm import LLM, LLMConfig, ModelConfig
from holdfast.llm.providers.openai import OpenAIProvider
from holdfast.model import JobStatus
from holdfast.store import open_store

MODEL = "gpt-4o-mini"
"""Its price is what the simulated calls are booked at."""
BURST_SECONDS = 2.0
"""The client's own default, brought to the provider's time by the scale."""
_LOOK_SECONDS = 0.1
_WRITE, _BEFORE_WRITING = "write/", "check-name"


@dataclass(frozen=True, kw_only=True)
class Process:
    """What each process is made of."""

    services: Services
    registry: Registry
    dispatcher: LocalDispatcher

    @property
    def client(self) -> JobClient:
        services = self.services
        return JobClient(services.store, self.registry, self.dispatcher, services.artifacts)


@contextlib.asynccontextmanager
async def opened(home: str, store: str, base_url: str, **limits: float) -> AsyncIterator[Process]:
    """Open the shared database and the provider's account."""
    clock, scale = SystemClock(), limits["time_scale"]
    model = ModelConfig(
        model=MODEL,
        price_provider="openai",
        timeout_seconds=600,
        requests_per_minute=limits["rpm"] * scale,
        tokens_per_minute=limits["tpm"] * scale,
        burst_seconds=BURST_SECONDS / scale,
    )
    kept = await open_store(store, clock)
    provider = OpenAIProvider(api_key="none", base_url=base_url)
    llm = LLM(LLMConfig.single(model), {"openai": provider}, lanes=kept, ledger=kept)
    artifacts = LocalArtifacts(Path(home) / "artifacts", clock)
    registry = Registry()
    register_reports(registry, work_dir=Path(home) / "work")
    services = Services(store=kept, artifacts=artifacts, clock=clock, resources={LLM: llm})
    try:
        yield Process(services=services, registry=registry, dispatcher=LocalDispatcher(kept.hints))
    finally:
        await llm.close()
        await kept.close()


async def serve(queue: str, slots: int, **settings: Any) -> None:
    async with opened(**settings) as process:
        worker = Worker(
            process.services, process.registry, process.dispatcher, queues=(queue,), slots=slots
        )
        await worker.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


async def order(
    client: JobClient, kind: str, options: dict[str, Any], orders: int = 1
) -> list[dict[str, Any]]:
    """Order a product some times, one after another, and tell what each took."""
    return [await _order(client, kind, options) for _ in range(orders)]


async def _order(client: JobClient, kind: str, options: dict[str, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    job_id = (await client.submit(kind, _request(options))).job_id
    result = await client.result(job_id)
    seconds = time.perf_counter() - began
    usage = (await client.get(job_id)).usage
    reports = [part.report for part in result.parts] if hasattr(result, "parts") else [result]
    return {
        "seconds": seconds,
        "writing_seconds": await _writing_seconds(client, kind, job_id),
        "calls": usage.calls,
        "tokens": usage.input_tokens + usage.output_tokens,
        "usd": float(usage.usd),
        "unpriced_calls": usage.unpriced_calls,
        "pages": sum(each.pages for each in reports),
        "bytes": sum(each.size_bytes for each in reports),
    }


async def _writing_seconds(client: JobClient, kind: str, job_id: str) -> float:
    """Return the time between the last preparation for the first call and the last answer."""
    begins, ends = [], []
    for part_id in parts_of(kind, job_id).values():
        for step in (await client.records(part_id)).checkpoints:
            if step.finished_at is not None and step.key == _BEFORE_WRITING:
                begins.append(step.finished_at)
            elif step.finished_at is not None and step.key.startswith(_WRITE):
                ends.append(step.finished_at)
    return (max(ends) - min(begins)).total_seconds()


async def beside(
    client: JobClient,
    *,
    kind: str,
    options: dict[str, Any],
    orders: int,
    warm_ups: int,
    busy: dict[str, Any],
) -> dict[str, Any]:
    """Order a product alone, then while others are being written."""
    await order(client, kind, options, warm_ups)  # the worker imports some things with its first
    alone = await order(client, kind, options, orders)
    running = [
        (await client.submit(busy["kind"], _request(busy["options"]))).job_id
        for _ in range(busy["jobs"])
    ]
    for job_id in running:
        await _begun(client, job_id, busy["calls"])
    found = await order(client, kind, options, orders)
    left = [await client.get(job_id) for job_id in running]
    return {
        "alone": alone,
        "beside": found,
        "still_running": all(job.status is JobStatus.RUNNING for job in left),
    }


async def _begun(client: JobClient, job_id: str, calls: int) -> None:
    while (await client.get(job_id)).usage.calls < calls:  # noqa: ASYNC110 - another process's job
        await asyncio.sleep(_LOOK_SECONDS)


def _request(options: dict[str, Any]) -> ReportRequest:
    asked = report.request(days=1, concurrency=None)
    return asked.model_copy(update={"options": type(asked.options)(**options)})


ROLES = {"order": order, "beside": beside}


async def play(role: str, asked: dict[str, Any], **settings: Any) -> Any:
    async with opened(**settings) as process:
        return await ROLES[role](process.client, **asked)  # type: ignore[operator]


def measure(*, folder: str | None = None, role: str, **given: Any) -> Any:
    del folder  # the processes share another one, `home`
    return run_async(serve(**given) if role == "serve" else play(role, **given))


if __name__ == "__main__":
    main(measure)
