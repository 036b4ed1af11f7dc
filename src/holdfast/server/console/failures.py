"""Failed jobs, put together by what was behind them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from holdfast.model import Job, StoredError

JOBS_SHOWN_MAX = 8
"""Jobs named of each group."""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Jobs of one kind that failed by the same cause in the same group of steps."""

    kind: str
    cause: str
    """Stable code of the error, or the class of one that is not ours."""
    step: str
    """Step key up to its first slash; empty if no step failed."""
    jobs: tuple[Job, ...]
    """Newest first."""

    @property
    def shown(self) -> tuple[Job, ...]:
        """The newest, to be named."""
        return self.jobs[:JOBS_SHOWN_MAX]

    @property
    def last_at(self) -> datetime | None:
        """When the last of them failed."""
        return max((job.finished_at for job in self.jobs if job.finished_at is not None), default=None)


def grouped_failures(jobs: Iterable[Job]) -> list[FailureGroup]:
    """Return the groups, the largest first."""
    groups: dict[tuple[str, str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        groups[job.kind, cause_of(job.error), step_of(job.error)].append(job)
    found = [FailureGroup(*names, tuple(members)) for names, members in groups.items()]
    return sorted(found, key=lambda group: (-len(group.jobs), group.kind, group.cause, group.step))


def cause_of(error: StoredError | None) -> str:
    """Return what was behind an error: for a failed step, the error that its function raised."""
    if error is None:
        return "unknown"
    code, name = error.code, error.type
    if code == "step_failed" and "cause_code" in error.details:
        code, name = str(error.details["cause_code"]), str(error.details["cause"])
    return name if code == "exception" else code


def step_of(error: StoredError | None) -> str:
    """Return the group of the step that failed."""
    key = error.details.get("step_key") if error is not None else None
    return str(key).partition("/")[0] if key else ""
