"""One person's data: the jobs of a subject, and their end."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.engine.retention import Removal
from holdfast.errors import JobFinishedError, JobNotFoundError
from holdfast.store.base import JobQuery, PruneRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from holdfast.engine.client import JobClient
    from holdfast.model import Job

ERASE_WAIT = timedelta(minutes=10)
"""Longer than files take to count as settled."""

_PAGE = 100
_SETTLE_POLL_SECONDS = 10.0


async def jobs_of(client: JobClient, subject: str) -> AsyncIterator[Job]:
    """Yield the subject's jobs, newest first, read a page at a time."""
    before: str | None = None
    while True:
        page = await client.list(JobQuery(subject=subject, before=before, limit=_PAGE))
        for job in page:
            yield job
        if len(page) < _PAGE:
            return
        before = page[-1].job_id


async def erase(client: JobClient, subject: str, *, wait: timedelta = ERASE_WAIT) -> Removal:
    """Cancel the subject's unfinished jobs, then delete all of its jobs with their files.

    What is left – `jobs_of`, `Removal.files_left` – had not ended in time, is a child of an unfinished
    job, or was stored a moment ago; then this is to be called again.

    Args:
        client: Of the application.
        subject: As given when the jobs were submitted.
        wait: How long to wait for jobs to end, and for files to be old enough to be deleted.

    Raises:
        StoreError: The store cannot be written, or traces of what was deleted are left in its files;
            calling again goes on.
    """
    deadline = asyncio.get_running_loop().time() + wait.total_seconds()
    await _end_jobs(client, subject, deadline)
    removal = Removal()
    while True:
        found = await client.retention.prune(PruneRequest(subject=subject))
        removal.job_ids += found.job_ids
        removal.files += found.files
        removal.files_left |= found.files_left
        # Until nothing at all is found: the store removes the last traces then.
        if not (found.job_ids or found.more):
            break
    await _delete_unsettled(client, removal, deadline)
    return removal


async def _end_jobs(client: JobClient, subject: str, deadline: float) -> None:
    """Cancel what is unfinished, also what is added meanwhile, and wait for it until `deadline`."""
    with contextlib.suppress(TimeoutError):
        while unfinished := await _cancel_jobs(client, subject):
            async with asyncio.timeout_at(deadline):
                for job_id in unfinished:
                    with contextlib.suppress(JobNotFoundError):
                        await client.wait(job_id)


async def _cancel_jobs(client: JobClient, subject: str) -> Sequence[str]:
    unfinished: list[str] = []
    async for job in jobs_of(client, subject):
        if job.status.terminal:
            continue
        unfinished.append(job.job_id)
        with contextlib.suppress(JobFinishedError, JobNotFoundError):
            await client.cancel(job.job_id)
    return unfinished


async def _delete_unsettled(client: JobClient, removal: Removal, deadline: float) -> None:
    """Wait until files are old enough to be deleted, and delete those still unreferenced."""
    loop = asyncio.get_running_loop()
    while removal.files_left and (left := deadline - loop.time()) > 0:
        await asyncio.sleep(min(left, _SETTLE_POLL_SECONDS))
        waiting, removal.files_left = sorted(removal.files_left), set()
        await client.retention.delete_files(waiting, removal)
