"""Jobs by abbreviated id."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, cast

from holdfast.errors import InvalidInputError, JobNotFoundError
from holdfast.store.base import JobQuery

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from holdfast.jobs import Jobs
    from holdfast.model import Event, Job

_FULL_LENGTH = 30
_LENGTH_MIN = 4
_PAGE = 1_000
_SHOWN = 5


async def find_job(client: Jobs, given: str) -> Job:
    """Return the job with this id, or the only one whose id begins or ends so.

    Raises:
        JobNotFoundError: There is none.
        InvalidInputError: There are several, or the text is too short to mean one.
    """
    wanted = given.strip()
    try:
        return await client.get(wanted)
    except JobNotFoundError:
        if len(wanted) >= _FULL_LENGTH:
            raise
    part = wanted.removeprefix("job_").upper()
    if len(part) < _LENGTH_MIN:
        raise InvalidInputError(
            f"job id {given!r} is too short to find one job",
            hint=f"give at least {_LENGTH_MIN} of its first or last characters",
        )
    matches = [job async for job in _all_jobs(client) if _matches(job.job_id, part)]
    if not matches:
        raise JobNotFoundError(job_id=given)
    if len(matches) > 1:
        shown = ", ".join(job.job_id for job in matches[:_SHOWN])
        more = f" and {len(matches) - _SHOWN} more" if len(matches) > _SHOWN else ""
        raise InvalidInputError(
            f"job id {given!r} fits {len(matches)} jobs: {shown}{more}", hint="give more characters"
        )
    return matches[0]


async def past_events(client: Jobs, job: Job, types: frozenset[str]) -> list[Event]:
    """Return the events of these types up to the state in which `job` was read."""
    found: list[Event] = []
    if not job.event_seq:
        return found
    # Declared as an iterator, but it is a generator, which holds a subscription until closed.
    events = cast("AsyncGenerator[Event, None]", client.events(job.job_id))
    async with contextlib.aclosing(events):
        async for event in events:
            if event.type in types:
                found.append(event)
            if event.seq >= job.event_seq:
                break
    return found


def _matches(job_id: str, part: str) -> bool:
    characters = job_id.removeprefix("job_")
    return characters.startswith(part) or characters.endswith(part)


async def _all_jobs(client: Jobs) -> AsyncIterator[Job]:
    before: str | None = None
    while True:
        page = await client.list(JobQuery(before=before, limit=_PAGE))
        for job in page:
            yield job
        if len(page) < _PAGE:
            return
        before = page[-1].job_id
