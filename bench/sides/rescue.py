"""A worker that is to be killed, or that takes over: every step writes a line with the time."""

import asyncio
import sys
from pathlib import Path

from bench.diary import note
from bench.sides.program import main, run_async
from holdfast import JobContext
from holdfast.settings import Settings
from holdfast.wiring import App

STEP_SECONDS = 0.1
STEPS = 10_000


class Diary:
    """Notes every step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def work(self, number: int) -> int:
        note(self._path, number)
        await asyncio.sleep(STEP_SECONDS)
        return number


async def steps(job: JobContext) -> None:
    diary = job.resource(Diary)
    for number in range(STEPS):
        await job.step(f"step/{number}", diary.work, number)


async def work(folder: str, diary: str, *, submits: bool) -> None:
    app = App(Settings(home=Path(folder), provider="scripted", log_level="error", drain_grace_seconds=0))
    app.job("steps")(steps)
    app.provide(Diary(Path(diary)))
    async with app.worker() as client:
        if submits:
            await client.submit("steps")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def measure(*, folder: str, diary: str, submits: bool) -> None:
    run_async(work(folder, diary, submits=submits))


if __name__ == "__main__":
    main(measure)
