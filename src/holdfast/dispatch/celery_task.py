"""The one task: a message that names a job. Our pool runs it; any other pool refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from celery import Task

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.dispatch.base import ServeJobs

RUN_TASK = "holdfast.run"

_JOB_ID = re.compile(r"job_[0-9A-Z]{26}")


def named_job(arguments: Any) -> str | None:
    """Return the job's id that the arguments of a message consist of; None if they do not."""
    match arguments:
        case [str(job_id)] if _JOB_ID.fullmatch(job_id):
            return job_id
        case _:
            return None


class RunTask(Task):  # type: ignore[misc] # Celery ships no types
    """Carries what the pool needs to know; its body is for workers that should not have got it."""

    name = RUN_TASK
    acks_late = False
    ignore_result = True
    max_retries = 0
    rate_limit = None
    track_started = False
    typing = False

    def __init__(self, *, serve: ServeJobs | None, prefix: str) -> None:
        self.serve = serve
        self.prefix = prefix
        """Put before the names of queues in the broker."""

    def queue_name(self, queue: str) -> str:
        """Return the broker's name of a job's queue: the one place where hints are routed."""
        return self.prefix + queue

    def job_queue(self, name: str) -> str:
        """Return the job's name of a broker's queue."""
        return name.removeprefix(self.prefix)

    def run(self, *args: Any) -> None:
        """Refuse: the job stays queued, and a worker that can run it repairs this.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "a message for a job was taken by a Celery worker without Holdfast's pool",
            hint="let only `holdfast worker` consume the queues of jobs",
        )
