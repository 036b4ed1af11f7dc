"""The application that the workers of a measured fleet serve."""

import asyncio
from pathlib import Path

from bench.diary import note
from bench.sides.program import value_of
from holdfast import App, JobContext
from holdfast.llm import LLM

WAIT_SECONDS = 3_600.0

app = App()


@app.job("row", queue="bench")
async def row(job: JobContext, number: int) -> None:
    """One step, durable with its result of 2 KB."""

    async def work() -> str:
        return value_of(number)

    await job.step("work", work)


@app.job("wait", queue="bench")
async def wait(job: JobContext, diary: str) -> None:
    """Wait in a step, as for a provider, having noted it."""

    async def work() -> None:
        note(Path(diary), 1)
        await asyncio.sleep(WAIT_SECONDS)

    await job.step("wait", work)


@app.job("call", queue="bench")
async def call(job: JobContext, prompt: str) -> str:
    """Make one model call."""
    return await job.step("call", job.resource(LLM).complete, prompt)
