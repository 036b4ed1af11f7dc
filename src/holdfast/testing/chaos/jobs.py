"""The application that the workers of a chaos run serve, and what its provider answers."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from holdfast import App, JobContext
from holdfast.clock import SystemClock
from holdfast.ids import content_hash
from holdfast.llm.client import LLM
from holdfast.testing.chaos.books import Asked

if TYPE_CHECKING:
    from holdfast.llm.providers.base import ProviderRequest

CLOCK_VARIABLE = "HOLDFAST_CHAOS_CLOCK"
"""Names the file that holds by how many seconds a worker's clock is wrong."""

_LOOK_SECONDS = 0.2
_BRANCHES = 4
_OUTPUT_TOKENS = 40


class SteppedClock(SystemClock):
    """The machine's clock, wrong by what a file says: another process sets it.

    Still a `SystemClock`, as a machine with a wrong time has it: a store with a clock of its own
    is not misled.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wrong = timedelta()
        self._look_at = 0.0

    def now(self) -> datetime:
        if self.monotonic() >= self._look_at:
            self._look_at = self.monotonic() + _LOOK_SECONDS
            if self._path.exists():
                self._wrong = timedelta(seconds=float(self._path.read_text() or 0))
        return super().now() + self._wrong


def _clock() -> SystemClock:
    path = os.environ.get(CLOCK_VARIABLE)
    return SteppedClock(Path(path)) if path else SystemClock()


app = App(clock=_clock())


class Work(BaseModel):
    """A job's input."""

    name: str
    steps: int
    rest_seconds: float = 0.0
    """How long to sleep in the middle; the job is suspended meanwhile."""
    in_child: bool = False
    """Whether the answers are joined in a child process."""


def asked_of(_job_id: str, _kind: str, given: Any) -> Asked:
    """Return what is known of a job from its input."""
    work = Work.model_validate(given)
    return Asked(name=work.name, steps=work.steps, rest_seconds=work.rest_seconds)


def question(name: str, number: int) -> str:
    """Return the prompt of a job's step."""
    return f"{name}: question {number}"


def answer(prompt: str) -> str:
    """Return what the provider answers: the same for the same prompt, another for every other."""
    return f"{prompt} is answered by {content_hash(prompt.encode())[:24]}."


def join(answers: list[str]) -> str:
    """Join all answers to the job's result."""
    return "\n".join(answers)


def output(work: Work) -> str:
    """Return what a job must end with, whatever happened on the way."""
    text = join([answer(question(work.name, number)) for number in range(work.steps)])
    return content_hash(text.encode())


@app.job("chaos.line")
async def line(job: JobContext, work: Work) -> str:
    """Ask one question after the other."""
    llm = job.resource(LLM)
    answers = []
    for number in range(work.steps):
        prompt = question(work.name, number)
        answers.append(
            await job.step(f"ask/{number}", llm.complete, prompt, max_output_tokens=_OUTPUT_TOKENS)
        )
        if work.rest_seconds and number == work.steps // 2:
            await job.sleep("rest", timedelta(seconds=work.rest_seconds))
    return await _finish(job, work, answers)


@app.job("chaos.fan")
async def fan(job: JobContext, work: Work) -> str:
    """Ask several questions at a time."""
    llm = job.resource(LLM)

    async def ask(number: int) -> str:
        return await llm.complete(question(work.name, number), max_output_tokens=_OUTPUT_TOKENS)

    answers = await job.map("ask", list(range(work.steps)), ask, key=str, concurrency=_BRANCHES)
    return await _finish(job, work, answers)


async def _finish(job: JobContext, work: Work, answers: list[str]) -> str:
    if work.in_child:
        text = await job.step("join", join, answers, isolate=True)
    else:
        text = join(answers)
    saved = await job.save_artifact("answers.txt", text.encode())
    return saved.sha256


class SlowWriter:
    """Answers for the provider, each question in a time of its own."""

    def __init__(self, mean_seconds: float) -> None:
        self._mean_seconds = mean_seconds

    async def __call__(self, request: ProviderRequest) -> str:
        prompt = str(request.messages[-1]["content"])
        # Between a quarter and seven quarters of the mean, the same for the same prompt.
        share = int(content_hash(prompt.encode())[:4], 16) / 0xFFFF
        await asyncio.sleep(self._mean_seconds * (0.25 + 1.5 * share))
        return answer(prompt)
