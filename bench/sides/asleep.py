"""Thousands of jobs that wait: inside a step, as for an HTTP answer, or durably suspended."""

import asyncio
import gc
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.sides.program import main, memory_kib, run_async
from holdfast import JobContext
from holdfast.model import JobStatus
from holdfast.settings import Settings
from holdfast.store.base import JobQuery
from holdfast.wiring import App

WAIT_SECONDS_MAX = 120.0


class Gate:
    """What the waiting steps wait for, and how many do."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0

    async def pass_through(self) -> str:
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        return "through"


async def waits_in_step(job: JobContext) -> str:
    return await job.step("call", job.resource(Gate).pass_through)


async def sleeps(job: JobContext) -> None:
    await job.sleep("nap", timedelta(hours=6))


async def until(true: Callable[[], bool]) -> None:
    """Look again and again until it is true."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not true():  # noqa: ASYNC110 - what is waited for are others' coroutines
            await asyncio.sleep(0.02)


async def _suspended(client: Any, jobs: int) -> None:
    """Return once that many jobs are suspended; all pages are counted."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while await _count(client, JobStatus.SUSPENDED) < jobs:  # noqa: ASYNC110 - as any client
            await asyncio.sleep(0.3)


async def _count(client: Any, status: JobStatus) -> int:
    total, before = 0, None
    while page := await client.list(JobQuery(status=status, before=before, limit=1_000)):
        total, before = total + len(page), page[-1].job_id
    return total


async def _settled_kib(seconds: float) -> int:
    gc.collect()
    await asyncio.sleep(seconds)
    gc.collect()
    return memory_kib()


def _app(folder: str, slots: int, gate: Gate) -> App:
    app = App(
        Settings(
            home=Path(folder),
            provider="scripted",
            concurrency=slots,
            log_level="error",
            drain_grace_seconds=5,
        )
    )
    app.provide(gate)
    app.job("waits")(waits_in_step)
    app.job("sleeps")(sleeps)
    return app


async def in_step(folder: str, jobs: int, calm: float) -> dict[str, float]:
    """Hold all jobs in a step at once; take the memory before and then, `calm` seconds later."""
    gate = Gate()
    async with _app(folder, jobs + 100, gate).worker() as client:
        # What only the first jobs cost (caches, statements, buffers) belongs to the start.
        warm = [await client.submit("waits") for _ in range(20)]
        await until(lambda: gate.waiting == len(warm))
        before = await _settled_kib(calm)
        began = time.perf_counter()
        submitted = await asyncio.gather(*(client.submit("waits") for _ in range(jobs)))
        del submitted
        await until(lambda: gate.waiting == jobs + len(warm))
        seconds = time.perf_counter() - began
        after = await _settled_kib(calm)
        cpu = time.process_time()
        await asyncio.sleep(calm)
        idle_cpu = (time.process_time() - cpu) / calm
        gate.open.set()
        await until(lambda: gate.waiting == 0)
        return {
            "kib_each": (after - before) / jobs,
            "seconds": seconds,
            "idle_cpu": idle_cpu,
            "rss_kib": after,
        }


async def suspended(folder: str, jobs: int, calm: float) -> dict[str, float]:
    """Put all jobs to durable sleep through a hundred slots."""
    async with _app(folder, 100, Gate()).worker() as client:
        for _ in range(20):
            await client.submit("sleeps")
        await _suspended(client, 20)
        before = await _settled_kib(calm)
        began = time.perf_counter()
        await asyncio.gather(*(client.submit("sleeps") for _ in range(jobs)))
        await _suspended(client, jobs + 20)
        seconds = time.perf_counter() - began
        after = await _settled_kib(calm)
        held = await _count(client, JobStatus.RUNNING)
        return {
            "kib_each": (after - before) / jobs,
            "seconds": seconds,
            "slots_held": held,
            "rss_kib": after,
        }


def measure(*, folder: str, work: str, jobs: int, calm: float) -> Any:
    asked = {"in_step": in_step, "suspended": suspended}[work]
    return run_async(asked(folder, jobs, calm))


if __name__ == "__main__":
    main(measure)
