"""Our side: durable steps per second, and the replay of finished ones."""

import asyncio
import contextlib
import cProfile
import pstats
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench.sides.program import main, run_async, value_of
from holdfast import JobContext
from holdfast.errors import FatalError, JobFailedError
from holdfast.settings import Settings
from holdfast.wiring import App

_switch = {"fail": False}
_marks: dict[str, float] = {}


async def work(number: int) -> str:
    return value_of(number)


async def chain(job: JobContext, steps: int) -> int:
    """Run steps one after another."""
    for number in range(steps):
        await job.step(f"step/{number}", work, number)
    return steps


async def chain_that_fails(job: JobContext, steps: int) -> int:
    """Run steps and fail behind the last one while the switch is on."""
    _marks["began"] = time.perf_counter()
    await chain(job, steps)
    _marks["replayed"] = time.perf_counter()
    if _switch["fail"]:
        raise FatalError("on purpose")
    return steps


@contextlib.asynccontextmanager
async def worker(folder: str, slots: int, url: str) -> AsyncIterator[Any]:
    app = App(
        Settings(home=Path(folder), store=url, provider="scripted", concurrency=slots, log_level="error")
    )
    app.job("chain")(chain)
    app.job("failing")(chain_that_fails)
    async with app.worker() as client:
        # One job before the clock starts, so that imports and plans are there.
        await client.result((await client.submit("chain", 5)).job_id)
        yield client


async def throughput(folder: str, url: str, jobs: int, steps: int) -> dict[str, float]:
    async with worker(folder, max(100, jobs), url) as client:
        began, cpu = time.perf_counter(), time.process_time()
        submitted = await asyncio.gather(*(client.submit("chain", steps) for _ in range(jobs)))
        await asyncio.gather(*(client.result(job.job_id) for job in submitted))
        seconds = time.perf_counter() - began
        return {
            "per_second": jobs * steps / seconds,
            "seconds": seconds,
            "cpu_seconds": time.process_time() - cpu,
        }


async def replay(folder: str, url: str, steps: int) -> dict[str, float]:
    """Fail behind the last step, retry, and time from the retry to the same place again."""
    async with worker(folder, 10, url) as client:
        _switch["fail"] = True
        job = await client.submit("failing", steps)
        with contextlib.suppress(JobFailedError):
            await client.result(job.job_id)
        _switch["fail"] = False
        began, cpu = time.perf_counter(), time.process_time()
        await client.retry(job.job_id)
        await client.result(job.job_id)
        seconds = _marks["replayed"] - began
        return {
            "per_second": steps / seconds,
            "seconds": seconds,
            "loop_seconds": _marks["replayed"] - _marks["began"],
            "cpu_seconds": time.process_time() - cpu,
        }


def measure(
    *, folder: str, work: str, url: str = "", profile: str = "", **sizes: int
) -> dict[str, float]:
    """Measure `throughput` or `replay`; with `profile`, write the costs there."""
    asked = {"throughput": throughput, "replay": replay}[work]
    if not profile:
        return run_async(asked(folder, url, **sizes))  # type: ignore[no-any-return, operator]
    profiler = cProfile.Profile()
    found = profiler.runcall(run_async, asked(folder, url, **sizes))  # type: ignore[operator]
    profiler.dump_stats(profile)
    pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(30)
    return found  # type: ignore[no-any-return]


if __name__ == "__main__":
    main(measure)
