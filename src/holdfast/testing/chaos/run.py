"""One chaos run from beginning to end: jobs come, things go wrong, things heal, books are compared."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.errors import StoreError
from holdfast.testing.chaos import jobs, schedule
from holdfast.testing.chaos.auditor import audit, calls_at_blows
from holdfast.testing.chaos.ending import ended
from holdfast.testing.chaos.faults import Faults
from holdfast.testing.chaos.jobs import Work
from holdfast.testing.chaos.options import scene_of
from holdfast.testing.chaos.reading import read_books
from holdfast.testing.chaos.stage import open_stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holdfast.testing.chaos.books import Books
    from holdfast.testing.chaos.options import Options
    from holdfast.testing.chaos.schedule import Fault
    from holdfast.testing.chaos.stage import Stage

_POLL_SECONDS = 0.25
_AT_ONCE_SHARE = 0.5
"""Of the jobs come at the beginning; the others come while things go wrong."""
_REST_SECONDS = 2.0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    options: Options
    faults: tuple[Fault, ...]
    findings: list[str]
    books: Books
    done: list[str] = field(default_factory=list)
    """The faults as they were brought about."""
    seconds: float = 0.0
    end_seconds: float = 0.0
    """From the last fault to the end of the last job."""

    @property
    def at_blows(self) -> int:
        """Calls that were in flight in a worker when it was struck."""
        return calls_at_blows(self.books)


def plan_of(options: Options, seed: int) -> tuple[Fault, ...]:
    """Return the schedule that belongs to a seed."""
    return schedule.plan(
        seed,
        seconds=options.seconds,
        workers=options.workers,
        lease_seconds=options.lease_seconds,
        gap_seconds=options.gap_seconds,
        broker=options.broker != "none",
    )


async def run_chaos(options: Options, faults: Sequence[Fault], folder: Path) -> Outcome:
    """Run it once.

    Args:
        options: How large it is.
        faults: What goes wrong.
        folder: Empty; logs, the provider's journal and artifacts are left there.
    """
    began = time.monotonic()
    async with open_stage(scene_of(options, folder), folder) as stage:
        stage.fleet.start()
        bringing = Faults(stage)
        works = work_of(options)
        async with asyncio.TaskGroup() as group:
            group.create_task(_submit(stage, works, options.seconds))
            group.create_task(bringing.bring_about(faults))
        healed = time.monotonic()
        late = await ended(stage.store_url, still_seconds=options.still_seconds)
        all_ended = time.monotonic()
        await stage.fleet.leave()
        outputs = {work.name: jobs.output(work) for work in works}
        books = await read_books(stage, outputs, jobs.asked_of)
    findings = ([late] if late else []) + audit(books)
    return Outcome(
        options=options,
        faults=tuple(faults),
        findings=findings,
        books=books,
        done=bringing.log,
        seconds=time.monotonic() - began,
        end_seconds=all_ended - healed,
    )


def work_of(options: Options) -> list[Work]:
    """Return the jobs of a run: every fourth rests in the middle, every tenth uses a child process."""
    return [
        Work(
            name=f"job {number}",
            steps=options.steps,
            rest_seconds=_REST_SECONDS if number % 4 == 0 else 0.0,
            in_child=number % 10 == 5,
        )
        for number in range(options.jobs)
    ]


async def _submit(stage: Stage, works: Sequence[Work], seconds: float) -> None:
    at_once = round(len(works) * _AT_ONCE_SHARE)
    gap = 0.9 * seconds / max(1, len(works) - at_once)
    for number, work in enumerate(works):
        await asyncio.sleep(max(0.0, (number - at_once) * gap - stage.now()))
        kind = "chaos.fan" if number % 2 else "chaos.line"
        # With a key a submission whose answer was lost can be repeated: it is one job all the same.
        while work.name not in stage.job_ids:
            try:
                job = await stage.client.submit(kind, work, idempotency_key=work.name)
            except StoreError:
                await asyncio.sleep(_POLL_SECONDS)
            else:
                stage.job_ids[work.name] = job.job_id
