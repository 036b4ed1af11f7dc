"""An essay: an outline, its chapters in parallel, a budget. Offline and free without a key.

Run it twice: the second run returns the stored output and calls no model.
"""

import asyncio

from pydantic import BaseModel

from holdfast import App, Budget, JobContext
from holdfast.llm import LLM


class Outline(BaseModel):
    chapters: list[str]


app = App()


@app.job("essay", budget=Budget(usd="2.00", tokens=100_000))
async def essay(job: JobContext, topic: str) -> str:
    llm = job.resource(LLM)
    outline = await job.step("outline", llm.complete, f"Outline an essay on {topic}.", output=Outline)

    def write(title: str) -> str:
        return f"Write the chapter {title!r} of an essay on {topic}."

    chapters = await job.map(
        "chapter",
        outline.chapters,
        lambda title: llm.complete(write(title), max_output_tokens=800),
        concurrency=4,
    )
    return "\n\n".join(chapters)


async def main() -> None:
    async with app.worker() as client:
        job = await client.submit("essay", "tides", idempotency_key="essay/tides")
        async for event in client.events(job.job_id):
            print(event.seq, event.type)
        text = await client.result(job.job_id)
        usage = (await client.get(job.job_id)).usage
        print(f"{len(text.split())} words, {usage.calls} calls, {usage.usd} US dollars")


if __name__ == "__main__":
    asyncio.run(main())
