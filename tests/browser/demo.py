"""A store full of life to look at: jobs that run, wait, fail in several ways, stream and have children.

`python -m tests.browser.demo` serves it until Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from holdfast import Budget, FatalError, JobContext, RetryPolicy
from holdfast.ids import jitter
from holdfast.llm.client import LLM
from holdfast.llm.config import LLMConfig, ModelConfig, Price
from holdfast.llm.providers.scripted import Scripted
from holdfast.model import JobStatus
from holdfast.server.access import Action
from holdfast.testing.harness import Harness
from holdfast.testing.service import RunningService, running_service

PRICE = Price(input_per_million=Decimal(900), output_per_million=Decimal(2_600))
QUICK = RetryPolicy(attempts=4, base_seconds=0.4, cap_seconds=2)


async def ask(job: JobContext, key: str, prompt: str, *, model: str | None = None) -> str:
    llm: LLM = job.resource(LLM)
    return await job.step(key, lambda: llm.complete(prompt, model=model, max_output_tokens=400))


async def report(job: JobContext, chapters: int) -> str:
    llm: LLM = job.resource(LLM)
    await ask(job, "outline", "An outline, please.")
    flaky = set(range(3, chapters, 7))

    async def write(number: int) -> str:
        if number in flaky:
            flaky.discard(number)
            raise ConnectionError("the provider closed the connection")
        return await llm.complete(f"Chapter {number}", max_output_tokens=400)

    texts = await job.map("chapter", list(range(1, chapters + 1)), write, concurrency=4, retry=QUICK)
    await job.save_artifact("report.txt", "\n\n".join(texts).encode())
    return f"{len(texts)} chapters"


async def letter(job: JobContext, to: str) -> str:
    """Streams its text."""
    llm: LLM = job.resource(LLM)

    async def write() -> str:
        async with llm.stream(f"A long letter to {to}", model="slow") as stream:
            return "".join([part async for part in stream])

    return await job.step("write", write)


async def essay(job: JobContext, topic: str) -> str:
    """Reaches its budget halfway."""
    for number in range(1, 9):
        await ask(job, f"part/{number}", f"Part {number} on {topic}")
    return "eight parts"


async def approval(job: JobContext, amount: int) -> str:
    await job.step("draft", lambda: "a draft")
    return str(await job.wait_for("approved"))


async def nightly(job: JobContext) -> None:
    await job.step("collect", lambda: 12)
    await job.sleep("until night", timedelta(hours=7))


async def parse(job: JobContext, path: str) -> int:
    """Fails by what its input says."""

    def read() -> int:
        if path.endswith(".docx"):
            raise FatalError("encrypted documents cannot be read")
        if path.endswith(".tiff"):
            raise ValueError(f"page 7 of {path!r} has no text layer")
        raise TimeoutError("the OCR service did not answer")

    await job.step("open", lambda: None)
    return await job.step("page/7", read, retry=RetryPolicy(attempts=2, base_seconds=0.2))


async def city(job: JobContext, name: str) -> str:
    return await ask(job, "describe", f"Describe {name}", model="small")


async def guide(job: JobContext, cities: list[str]) -> int:
    children = [await job.spawn(f"city/{name}", city, name) for name in cities]
    return len(await job.gather(*children))


def add_kinds(harness: Harness) -> None:
    harness.job("report", report, queue="writers")
    harness.job("letter", letter, queue="writers")
    harness.job("essay", essay, queue="writers")
    harness.job("approval", approval)
    harness.job("nightly", nightly)
    harness.job("parse", parse, queue="documents")
    harness.job("city", city, queue="guides")
    harness.job("guide", guide, queue="guides")


def models() -> LLMConfig:
    fast = ModelConfig(
        model="gpt-large", provider="demo", price=PRICE, requests_per_minute=75, tokens_per_minute=60_000
    )
    small = ModelConfig(model="gpt-small", provider="demo", price=PRICE, requests_per_minute=600)
    slow = ModelConfig(
        model="gpt-wordy",
        provider="slow",
        price=PRICE,
        requests_per_minute=60,
        tokens_per_minute=200_000,
    )
    named = {"gpt-large": fast, "small": small, "slow": slow}
    return LLMConfig(models=named, default_model="gpt-large")


@contextlib.asynccontextmanager
async def demo(folder: Path, **options) -> AsyncIterator[tuple[Harness, RunningService]]:
    """Open a store of its own with everything in it, served with open access."""
    async with Harness(folder) as harness:
        add_kinds(harness)
        sentence = "The tide took the boats and gave them back, one after the other, in the grey light. "
        llm = LLM(
            models(),
            {
                "demo": Scripted(name="demo", tokens_per_second=160),
                "slow": Scripted(lambda _: sentence * 200, name="slow", tokens_per_second=45),
            },
            lanes=harness.store,
            ledger=harness.store,
        )
        harness.services.resources[LLM] = llm
        try:
            async with running_service(harness, open_access=True, **options) as running:
                yield harness, running
        finally:
            await llm.close()


async def fill(harness: Harness, folder: Path) -> None:
    """Submit the mix, and move what ended into the past day."""
    await harness.start_worker(slots=40)
    cities = ["Bergen", "Aberdeen", "Brest", "Galway", "Bilbao"]
    done = [await harness.submit("guide", cities[: 2 + n % 4], tenant="atlas") for n in range(6)]
    done += [
        await harness.submit("parse", f"scan-{n}.{end}", tenant="archive")
        for n, end in enumerate(["tiff", "docx", "tiff", "pdf", "docx", "tiff", "tiff", "pdf"])
    ]
    done += [await harness.submit("report", 2, tenant="press") for _ in range(8)]
    await harness.submit("approval", 250, tenant="press")
    await harness.submit("nightly")
    cancelled = await harness.submit("approval", 9_000, tenant="press")
    await harness.until(cancelled, JobStatus.SUSPENDED)
    await harness.client.cancel(cancelled)
    for job_id in done:
        async with asyncio.timeout(120):
            await harness.client.wait(job_id)
    await asyncio.to_thread(_into_the_past, folder / "holdfast.db")
    await harness.submit("essay", "kelp", tenant="press", budget=Budget(usd="2.10"))
    await harness.submit("guide", cities[:3], tenant="atlas")
    await harness.submit("nightly", delay=timedelta(hours=2))
    await harness.submit("letter", "the harbour master", tenant="press")
    await harness.submit("report", 42, tenant="press", budget=Budget(usd=60))
    await harness.submit("report", 18, queue="urgent", priority=2, tenant="shop", budget=Budget(usd=10))


def _into_the_past(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for (row,) in connection.execute("SELECT id FROM calls").fetchall():
            back = int(jitter() ** 0.7 * 23 * 3_600 * 1e6)
            connection.execute(
                "UPDATE calls SET ended_at = ended_at - ?, nanos = nanos * ? WHERE id = ?",
                (back, 2 + int(jitter() * 12), row),
            )


async def lose_a_worker(harness: Harness) -> str:
    """Have a worker vanish in the middle of a letter; another takes it over and writes it again."""
    doomed = await harness.start_worker(slots=1, queues=("doomed",), lease_seconds=1.0)
    job_id = await harness.submit("letter", "the pilot", queue="doomed", tenant="press")
    await harness.event(job_id, "output.delta", number=8)
    await harness.abandon(doomed)
    return job_id


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with demo(folder) as (harness, running):
            await fill(harness, folder)
            lost = await lose_a_worker(harness)
            key = await running.key(Action.READ, tenant="press")
            sys.stdout.write(f"{running.url}/console\nlost worker: {lost}\nkey that reads: {key}\n")
            sys.stdout.flush()
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
