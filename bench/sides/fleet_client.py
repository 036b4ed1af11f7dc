"""A client of a fleet, such as an API: submits, waits, counts, cancels. Runs no jobs."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.sides import fleet_jobs
from bench.sides.program import main, run_async
from holdfast import App
from holdfast.engine.client import JobClient
from holdfast.model import JobStatus
from holdfast.settings import Settings
from holdfast.store.base import JobQuery

_LOOK_SECONDS = 0.02
_CALL_SECONDS_MAX = 30.0


async def wait(client: JobClient, diary: str, jobs: int) -> int:
    """Submit jobs, all at once, that wait."""
    return len(await asyncio.gather(*(client.submit("wait", diary) for _ in range(jobs))))


async def throughput(client: JobClient, jobs: int) -> dict[str, float]:
    """Time jobs of one step from the first submission to the last result."""
    await _run(client, 20)
    began = time.perf_counter()
    submitted = await _run(client, jobs)
    seconds = time.perf_counter() - began
    return {"per_second": jobs / seconds, "submitted_per_second": jobs / (submitted - began)}


async def _run(client: JobClient, jobs: int) -> float:
    """Run jobs to their end, and return when all were submitted."""
    submitted = await asyncio.gather(*(client.submit("row", number) for number in range(jobs)))
    at = time.perf_counter()
    await asyncio.gather(*(client.result(job.job_id) for job in submitted))
    return at


async def statuses(client: JobClient) -> dict[str, int]:
    """Count the jobs by status."""
    found: Counter[str] = Counter()
    before = None
    while page := await client.list(JobQuery(before=before, limit=1_000)):
        found.update(job.status.value for job in page)
        before = page[-1].job_id
    return dict(found)


async def cancel(client: JobClient, journal: str, rounds: int, pause: float) -> list[float]:
    """Cancel jobs whose call is in flight, and return when each was asked for, by the shared clock."""
    asked = []
    for number in range(rounds):
        job = await client.submit("call", f"call {number}")
        await _calls(Path(journal), number + 1)
        # At another moment of the heartbeat each time.
        await asyncio.sleep(pause * (number + 1) / rounds)
        asked.append(time.monotonic())
        await client.cancel(job.job_id)
        ended = await client.wait(job.job_id)
        assert ended.status is JobStatus.CANCELLED, ended.status
    return asked


async def _calls(journal: Path, count: int) -> None:
    """Wait until so many calls have reached the provider."""
    async with asyncio.timeout(_CALL_SECONDS_MAX):
        while journal.read_text().count('"event": "started"') < count:  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(_LOOK_SECONDS)


ROLES = {"wait": wait, "throughput": throughput, "statuses": statuses, "cancel": cancel}


async def play(folder: str, role: str, store: str, broker: str, **arguments: Any) -> Any:
    app = App(
        Settings(home=Path(folder), store=store, broker=broker, provider="scripted", log_level="error")
    )
    app.registry = fleet_jobs.app.registry
    async with app.client() as client:
        return await ROLES[role](client, **arguments)  # type: ignore[operator]


def measure(*, folder: str, **asked: Any) -> Any:
    return run_async(play(folder, **asked))


if __name__ == "__main__":
    main(measure)
