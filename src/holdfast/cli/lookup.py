"""Jobs by abbreviated id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import InvalidInputError, JobNotFoundError
from holdfast.store.base import JobQuery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.jobs import Jobs
    from holdfast.model import Job

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
