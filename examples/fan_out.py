"""A book whose chapters are jobs of their own: in their own queue, three at once, one of them torn."""

import asyncio

from pydantic import BaseModel

from holdfast import App, Budget, Concurrency, FatalError, JobContext
from holdfast.errors import JobFailedError

torn = {2}


class Chapter(BaseModel):
    number: int
    words: int


def write(number: int) -> int:
    if number in torn:
        raise FatalError(f"page {number} is torn")
    return 1000 * number


app = App()


@app.job("chapter", queue="writers", concurrency=Concurrency(limit=3, per="tenant"))
async def chapter(job: JobContext, number: int) -> Chapter:
    return Chapter(number=number, words=await job.step("write", write, number))


@app.job("book", budget=Budget(tokens=50_000))
async def book(job: JobContext, chapters: int) -> int:
    children = [await job.spawn(f"chapter/{n}", chapter, n) for n in range(1, chapters + 1)]
    # No worker slot is held while the chapters are written.
    written = await job.gather(*children, on_error="finish")
    return sum(each.words for each in written)


async def main() -> None:
    async with app.worker() as client:
        job = await client.submit("book", 5, tenant="acme")
        try:
            await client.result(job.job_id)
        except JobFailedError as error:
            print(error)
        progress = (await client.get(job.job_id, with_children=True)).progress
        print(f"{progress.done:g} of {progress.total:g} chapters have ended")

        torn.clear()
        await client.retry(job.job_id)  # only the torn chapter runs again
        print(await client.result(job.job_id), "words")


if __name__ == "__main__":
    asyncio.run(main())
