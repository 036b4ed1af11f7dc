"""Jobs that use everything the engine has, for dying in the middle of them."""

import asyncio
from datetime import timedelta

from holdfast import FatalError, JobContext
from holdfast.llm.client import LLM

QUESTIONS = 5
CONCURRENCY = 3
LARGE_CHARACTERS = 300_000

taken_back: list[str] = []
"""What the undo functions were called with, over all lives."""


async def book(what: str) -> str:
    return f"{what} is booked"


async def give_back(what: str) -> None:
    taken_back.append(what)


async def large() -> str:
    return "x" * LARGE_CHARACTERS


async def everything(job: JobContext) -> dict[str, object]:
    """Map, sleep, signal, undo, artifact, blob, and a budget that is too small at first."""
    llm = job.resource(LLM)

    async def ask(number: int) -> str:
        return await llm.complete(f"question {number}", max_output_tokens=60)

    room = await job.step("book", book, "room", undo=give_back)
    answers = await job.map("ask", list(range(QUESTIONS)), ask, concurrency=CONCURRENCY)
    await job.sleep("night", timedelta(hours=1))
    word = await job.wait_for("go", returns=str)
    blob = await job.step("large", large)
    last = await job.step("last", llm.complete, "one more thing", max_output_tokens=900)
    saved = await job.save_artifact("answers.txt", "\n".join([*answers, last]).encode())
    return {
        "room": room,
        "answers": answers,
        "word": word,
        "blob": len(blob),
        "last": last,
        "sha256": saved.sha256,
    }


async def asks(job: JobContext, number: int) -> str:
    """Be the child of another job, and pay for an answer."""
    answer = await job.step(f"ask/{number}", job.resource(LLM).complete, f"question {number}")
    return f"{number}: {answer}"


async def delegates(job: JobContext) -> list[str]:
    """Leave paid work to children, then pay for a last word."""
    children = [await job.spawn(f"child/{n}", asks, n) for n in range(CONCURRENCY)]
    answers = await job.gather(*children)
    last = await job.step("last", job.resource(LLM).complete, "one more thing")
    return [*answers, last]


async def _book_all(job: JobContext) -> None:
    for what in ("flight", "room", "car"):
        await job.step(f"book/{what}", book, what, undo=give_back)
    await job.step("last", job.resource(LLM).complete, "is all booked?", max_output_tokens=60)


async def regrets(job: JobContext) -> None:
    """Fail after three steps that have to be taken back."""
    await _book_all(job)
    raise FatalError("nobody wants to travel")


async def lingers(job: JobContext) -> None:
    """Wait after three steps that have to be taken back, until somebody cancels."""
    await _book_all(job)
    await job.step("linger", asyncio.Event().wait)
