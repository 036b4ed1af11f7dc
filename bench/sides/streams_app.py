"""The application behind the measured streams."""

import asyncio
import os

from holdfast import App, JobContext

app = App()


@app.job("talk", queue="bench")
async def talk(job: JobContext, number: int) -> None:
    """Say something every so often, each job at a moment of its own, until the process ends."""
    seconds = float(os.environ["BENCH_SECONDS_BETWEEN"])
    await asyncio.sleep(number * 0.618 % 1 * seconds)
    while True:
        job.emit("line.spoken", text="x" * 100)
        await asyncio.sleep(seconds)
