"""The application that the workers of these tests run, by itself and beside tasks of its own."""

import asyncio
import os
import time
from pathlib import Path

from celery import Celery

from holdfast import App, JobContext
from holdfast.settings import load_settings

BROKER = load_settings().broker

own = Celery("shop", broker=BROKER.get_secret_value() if BROKER else "memory://", set_as_current=False)


@own.task(name="shop.note")
def note(folder: str) -> None:
    """Leave a note, as any other task of an application would do something."""
    Path(folder, "note").write_text(str(os.getpid()))


@own.task(name="shop.linger")
def linger(folder: str) -> None:
    """Tell that it has begun, and end when it is told to."""
    Path(folder, "begun").touch()
    while not Path(folder, "go").exists():
        time.sleep(0.02)
    Path(folder, "gone").touch()


app = App(celery=own if "OWN_CELERY" in os.environ else None)


@app.job("add", queue="quick")
async def add(job: JobContext, number: int) -> int:
    """Add one in a step."""

    async def one() -> int:
        return number + 1

    return await job.step("one", one)


@app.job("hold", queue="slow")
async def hold(job: JobContext, seconds: float) -> None:
    """Wait in a step, as for a provider."""
    await job.step("wait", asyncio.sleep, seconds)


@app.job("compute", queue="quick")
async def compute(job: JobContext, number: int) -> int:
    """Compute in a child process."""
    return await job.step("square", square, number, isolate=True)


def square(number: int) -> int:
    """Return the square."""
    return number * number
