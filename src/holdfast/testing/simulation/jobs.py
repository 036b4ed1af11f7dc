"""The jobs of a simulation: one function for each way in which the engine can be used."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast.engine.registry import Registry
from holdfast.errors import MapFailedError, SignalTimeoutError, StepFailedError
from holdfast.model import Budget, RetryPolicy
from holdfast.scope import current_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.engine.context import JobContext
    from holdfast.llm.client import LLM

BUDGET_TOKENS = 260
"""Enough for the reservation of one call and for little more."""

BUDGET_TOKENS_RAISED = 5_000


@dataclass(slots=True)
class Memory:
    """What job code did, kept outside of the store: another source for the auditor."""

    repeated: list[str] = field(default_factory=list)
    """Steps that an owner ran although their result was stored."""
    failures: dict[str, int] = field(default_factory=dict)
    """How often each step has failed on purpose."""
    effects: dict[str, dict[str, bool]] = field(default_factory=dict)
    """By job and step: whether what the step did outside is still there."""


@dataclass(slots=True)
class Diary:
    """What job code of one process works with and writes into."""

    memory: Memory
    is_finished: Callable[[str, str], bool]
    """Tells whether the store holds the result of a job's step."""
    is_owner: Callable[[str, int], bool]
    """Tells whether a job runs under an epoch."""
    llm: LLM
    sleep: Callable[[float], Any]
    """By the process's clock."""


DIARY: ContextVar[Diary] = ContextVar("DIARY")


def _begin() -> tuple[Diary, str, str]:
    """Note that a step's function runs."""
    diary, scope = DIARY.get(), current_step()
    assert scope is not None
    job_id, key = scope.lease.job_id, scope.step_key
    if diary.is_owner(job_id, scope.lease.epoch) and diary.is_finished(job_id, key):
        diary.memory.repeated.append(f"step {key!r} of {job_id} ran again after its result was stored")
    return diary, job_id, key


async def work(seconds: float) -> str:
    """Take some time."""
    diary, _, key = _begin()
    await diary.sleep(seconds)
    return f"done {key}"


def compute(number: int) -> int:
    """Take no time, in a thread."""
    _begin()
    return number * number


async def ask(number: int) -> str:
    """Make one paid call."""
    diary, job_id, key = _begin()
    return await diary.llm.complete(f"question {number} of {key} of {job_id}", max_output_tokens=100)


async def stumble(times: int) -> str:
    """Fail in passing so many times, then succeed."""
    diary, job_id, key = _begin()
    name = f"{job_id}/{key}"
    diary.memory.failures[name] = failed = diary.memory.failures.get(name, 0) + 1
    if failed <= times:
        raise ConnectionError(f"failure number {failed}, on purpose")
    return "at last"


async def change(name: str) -> str:
    """Change the world outside, for an undo to take back."""
    diary, job_id, _ = _begin()
    scope = current_step()
    assert scope is not None
    if diary.is_owner(job_id, scope.lease.epoch):
        # What a process does that has lost its job and does not know yet, nobody can take back.
        diary.memory.effects.setdefault(job_id, {})[name] = True
    await diary.sleep(0.5)
    return name


def change_back(name: str) -> None:
    """Take `change` back."""
    diary, job_id, _ = _begin()
    if diary.memory.effects.get(job_id, {}).get(name):
        diary.memory.effects[job_id][name] = False


async def refuse() -> None:
    """Fail for good."""
    _begin()
    raise ValueError("refused, on purpose")


async def sequence(job: JobContext, size: int) -> list[str]:
    """Work and ask in turns."""
    found = []
    for number in range(size):
        await job.step(f"work/{number}", work, 1.5 * number)
        found.append(await job.step(f"ask/{number}", ask, number))
    await job.step("compute", compute, size)
    return found


async def fan_out(job: JobContext, size: int) -> str:
    """Ask several questions at once and one about the answers."""
    await asyncio.gather(*(job.step(f"ask/{number}", ask, number) for number in range(size + 1)))
    return await job.step("combine", ask, 99)


async def mapped(job: JobContext, size: int) -> list[str]:
    """Map over a manifest."""
    return await job.map("chapters", range(2 * size), ask, concurrency=3)


async def flaky(job: JobContext, size: int) -> list[str]:
    """Run steps that fail in passing; one in four fails too often."""
    policy = RetryPolicy(attempts=4, base_seconds=0.5)
    found = [await job.step("fine", work, 0.1)]
    found.append(await job.step("stumble", stumble, size, retry=policy))
    return found


async def sleeper(job: JobContext, size: int) -> str:
    """Sleep between steps."""
    await job.step("before", ask, 1)
    await job.sleep("nap", timedelta(seconds=4 * size))
    return await job.step("after", ask, 2)


async def long_retry(job: JobContext, size: int) -> str:
    """Wait for a retry longer than a job waits in its slot."""
    policy = RetryPolicy(attempts=3, base_seconds=62.0, cap_seconds=63.0, jitter=False)
    await job.step("before", work, 0.1 * size)
    return await job.step("stumble", stumble, 1, retry=policy)


async def signalled(job: JobContext, size: int) -> list[Any]:
    """Wait for a signal while a sibling works; every other one gives up after a while."""
    timeout = timedelta(seconds=15) if size % 2 else None

    async def wait() -> Any:
        try:
            return await job.wait_for("go", timeout=timeout)
        except SignalTimeoutError:
            return "no signal"

    return list(await asyncio.gather(wait(), job.step("beside", ask, 1)))


async def two_waits(job: JobContext, size: int) -> list[Any]:
    """Wait for a signal and sleep at once."""

    async def nap() -> str:
        await job.sleep("nap", timedelta(seconds=size))
        return await job.step("after", work, 1.0)

    return list(await asyncio.gather(nap(), job.wait_for("go")))


async def saga(job: JobContext, size: int) -> str:
    """Change things outside; most of these jobs fail in the end and take it all back."""
    for number in range(size):
        await job.step(f"change/{number}", change, f"thing {number}", undo=change_back)
    if size > 1:
        await job.step("refuse", refuse)
    return "kept"


async def budgeted(job: JobContext, size: int) -> list[str]:
    """Ask more than the budget allows, until somebody raises it."""
    return list(await asyncio.gather(*(job.step(f"ask/{n}", ask, n) for n in range(size + 1))))


async def job_retry(job: JobContext, size: int) -> str:
    """Fail outside of any step for the first attempts."""
    await job.step("before", ask, 1)
    if job.attempt < min(size, 3):
        raise ConnectionError("the job itself failed, on purpose")
    return await job.step("after", work, 0.2)


async def failing(job: JobContext, size: int) -> str:
    """Fail with several branches in flight."""
    try:
        await job.map("items", range(size), _ask_or_refuse, on_error="finish", concurrency=2)
    except MapFailedError:
        await job.step("clean up", work, 0.2)
    try:
        await asyncio.gather(job.step("good", ask, 1), job.step("bad", refuse))
    except StepFailedError:
        await job.step("told", compute, size)
        raise
    return "never"


async def _ask_or_refuse(number: int) -> str:
    if number % 2:
        await refuse()
    return await ask(number)


def simulated_jobs() -> Registry:
    """Return the kinds of `holdfast.testing.simulation.plan.KINDS`."""
    registry = Registry()
    quick = RetryPolicy(base_seconds=0.5, cap_seconds=4.0)
    for function in (
        sequence, fan_out, mapped, flaky, sleeper, long_retry, signalled, two_waits, saga, job_retry,
        failing,
    ):  # fmt: skip
        registry.add(function.__name__, function, retry=quick, step_retry=quick)
    registry.add("budgeted", budgeted, step_retry=quick, budget=Budget(tokens=BUDGET_TOKENS))
    return registry
