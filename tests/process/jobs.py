"""The application that the worker processes of these tests run."""

import asyncio
import os
import time
from pathlib import Path

from pydantic import BaseModel

from holdfast import App, JobContext
from holdfast.llm.client import LLM

app = App()


class Questions(BaseModel):
    name: str
    count: int = 10
    concurrency: int = 4
    slow: str = ""
    """Added to each prompt, such as `[slow:2]` or `[until:FILE]`."""


@app.job("ask")
async def ask(job: JobContext, questions: Questions) -> str:
    """Ask many questions, keep the answers as a file and give back its hash."""
    llm = job.resource(LLM)

    async def one(number: int) -> str:
        prompt = f"{questions.name}, question {number} {questions.slow}"
        return await llm.complete(prompt, max_output_tokens=200)

    numbers = list(range(questions.count))
    answers = await job.map("ask", numbers, one, concurrency=questions.concurrency)
    saved = await job.save_artifact("answers.txt", "\n".join(answers).encode())
    return saved.sha256


@app.job("computes")
async def computes(job: JobContext, folder: str) -> None:
    """Have a call in flight and a child process at work until somebody cancels."""
    llm = job.resource(LLM)
    await asyncio.gather(
        job.step("call", llm.complete, "think hard [slow:600]", max_output_tokens=200),
        job.step("compute", compute, folder, isolate=True),
    )


def compute(folder: str) -> None:
    """Tell the id of this process and keep it busy."""
    Path(folder, "child.pid").write_text(f"{os.getpid()}\n")
    while True:
        time.sleep(0.05)


class Talk(BaseModel):
    lines: int
    gate: str
    """Path of a file without which nobody gets past the middle."""


@app.job("talk")
async def talk(job: JobContext, said: Talk) -> None:
    """Have something to tell ten times a second."""
    for number in range(said.lines):
        await job.step(f"line/{number}", asyncio.sleep, 0.1)
        job.emit("line.spoken", number=number)
        while number >= said.lines // 2 and not os.path.exists(said.gate):  # noqa: ASYNC110, ASYNC240, PTH110 - there is no event for a file
            await asyncio.sleep(0.05)
