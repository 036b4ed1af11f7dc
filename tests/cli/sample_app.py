"""An application for tests of the command line: small jobs that end as they are told."""

import asyncio
from datetime import timedelta

from pydantic import BaseModel

from holdfast import App, FatalError, JobContext

app = App()


class Work(BaseModel):
    items: int = 3
    fail_at: int | None = None
    secret: str = ""


async def double(number: int) -> int:
    return number * 2


@app.job("sums")
async def sums(job: JobContext, work: Work) -> int:
    """Double some numbers, fail at one of them if asked to, and add them up."""

    async def one(number: int) -> int:
        if number == work.fail_at:
            raise FatalError(f"number {number} is cursed")
        return await double(number)

    results = await job.map("double", list(range(work.items)), one, concurrency=1)
    await job.save_artifact("sums.txt", f"{sum(results)}\n".encode())
    return sum(results)


@app.job("letter")
async def letter(job: JobContext, work: Work) -> str:
    """Write a letter whose secret is in everything there is: a large result, a file, the output."""
    secret = work.secret or "nobody"

    async def long() -> str:
        return f"Dear {secret}, " * 20_000

    text = await job.step("long", long)
    await job.save_artifact("letters/ada.txt", text.encode())
    return text[:200]


@app.job("waits")
async def waits(job: JobContext) -> str:
    """Wait for a signal and give back what it carried."""
    return str(await job.wait_for("go", timeout=timedelta(days=1)))


@app.job("hangs")
async def hangs(job: JobContext) -> None:
    """Be in the middle of a step until somebody stops it."""
    await job.step("forever", _forever)


@app.job("family")
async def family(job: JobContext, children: int) -> list[int]:
    """Have children add up numbers."""
    return await job.gather(
        *[await job.spawn(f"sums/{n}", sums, Work(items=n)) for n in range(1, children + 1)]
    )


async def _forever() -> None:
    await asyncio.Event().wait()
