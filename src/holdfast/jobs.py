"""What a caller does with jobs, here or over HTTP: one protocol, so that code can take either.

`holdfast.engine.client.JobClient` does it on a store, `holdfast.remote.Client` by a service.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar, Unpack, cast, overload

import pydantic

from holdfast import codec
from holdfast.errors import (
    CheckpointTypeError,
    JobCancelledError,
    JobFailedError,
    JobNotFinishedError,
)
from holdfast.model import JobStatus

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from datetime import timedelta

    from holdfast.errors import JobError
    from holdfast.model import Artifact, Budget, Event, Job
    from holdfast.store.base import JobQuery, JobRecords

T = TypeVar("T")

IDEMPOTENCY_KEY_CHARACTERS_MAX = 255


class SubmitOptions(TypedDict, total=False):
    """How a job is to be queued, as keyword arguments."""

    queue: str | None
    """Instead of the kind's own."""
    priority: int | None
    """Higher first; the kind's own by default."""
    tenant: str | None
    """Whose job it is."""
    subject: str | None
    """Whose personal data it holds, in the application's own terms; never an address or a name."""
    budget: Budget | None
    """Instead of the kind's own."""
    concurrency_key: str | None
    """Instead of the one that the kind's `concurrency` makes; kinds may share one."""
    delay: timedelta | None
    """Not started before."""


class Jobs(Protocol):
    """Jobs from outside: submit, look, wait, cancel, signal, retry, fork, read.

    Every verb that takes a job's id raises `JobNotFoundError` if there is none with it.
    """

    async def submit(
        self,
        kind: str,
        value: Any = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Job:
        """Accept a job durably and return it.

        Args:
            kind: A registered kind.
            value: Its input, fitting the kind's declared type.
            idempotency_key: The same key with the same input gives the same job.
            **options: See `SubmitOptions`.

        Raises:
            UnknownJobKindError: No such kind is registered.
            InvalidInputError: The input does not fit, the key is too long, or the kind declares no
                limit for a concurrency key.
            IdempotencyConflictError: The key belongs to a different request.
        """
        ...

    async def get(self, job_id: str, *, with_children: bool = False) -> Job:
        """Return the job.

        Args:
            job_id: Its id.
            with_children: Add to its progress what its children tell of theirs, whether or not a
                worker has it: each counts as 1, one that has not ended by its own fraction.
        """
        ...

    async def list(self, query: JobQuery | None = None) -> Sequence[Job]:
        """Return jobs, newest first."""
        ...

    async def records(self, job_id: str) -> JobRecords:
        """Return the job's steps and ledger."""
        ...

    async def cancel(self, job_id: str) -> Job:
        """Ask for the job's end; its owner acts within a second.

        Raises:
            JobFinishedError: It has completed or failed.
        """
        ...

    async def signal(self, job_id: str, name: str, payload: Any = None) -> int:
        """Send the job a signal and return the number of its event.

        Raises:
            JobFinishedError: It is terminal.
            UnserializableValueError: The payload has no JSON form.
        """
        ...

    async def retry(self, job_id: str) -> Job:
        """Run a failed or cancelled job again from where it ended; finished steps stay.

        Raises:
            JobFinishedError, JobNotFinishedError: It cannot be retried.
        """
        ...

    async def fork(
        self,
        job_id: str,
        *,
        keep: Sequence[str] | None = None,
        value: Any = None,
        budget: Budget | None = None,
    ) -> Job:
        """Queue a copy of a job that keeps its finished steps, or only those named.

        Args:
            job_id: The source; it may be in any status and is not changed.
            keep: Step keys to keep; None for all finished ones.
            value: Another input; the source's by default.
            budget: Another budget; the source's by default.

        Raises:
            InvalidInputError: A key of `keep` does not exist.
        """
        ...

    async def set_budget(self, job_id: str, budget: Budget) -> Job:
        """Replace the job's budget; a job that waits for budget goes on.

        Raises:
            JobFinishedError: It is terminal.
        """
        ...

    def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[Event]:
        """Yield the job's events in order, live, from after `after` until the job has ended."""
        ...

    async def wait(self, job_id: str) -> Job:
        """Return the job once it is terminal."""
        ...

    @overload
    async def result(self, job_id: str) -> Any: ...
    @overload
    async def result(self, job_id: str, *, output: type[T]) -> T: ...
    async def result(self, job_id: str, *, output: Any = None) -> Any:
        """Wait for the job and return its output.

        Args:
            job_id: Its id.
            output: The type that the output has to fit, and is given as; else what its kind
                declares where that is known, and plain JSON values where it is not.

        Raises:
            JobFailedError: It failed.
            JobCancelledError: It was cancelled.
            CheckpointTypeError: The output does not fit the type.
        """
        ...

    @overload
    def output_of(self, job: Job) -> Any: ...
    @overload
    def output_of(self, job: Job, *, output: type[T]) -> T: ...
    def output_of(self, job: Job, *, output: Any = None) -> Any:
        """Decode the output of a completed job; see `result`.

        Raises:
            JobFailedError, JobCancelledError, CheckpointTypeError: See `result`.
            JobNotFinishedError: It has not ended.
        """
        ...

    async def artifacts(self, job_id: str) -> Sequence[Artifact]:
        """Return the files that the job has saved so far."""
        ...

    def stream_artifact(self, artifact: Artifact) -> AsyncIterator[bytes]:
        """Yield an artifact's content in chunks; it is one that `artifacts` of the same client gave.

        Raises:
            ArtifactError: It cannot be read.
        """
        ...


def decoded_output(job: Job, asked: Any = None, *, declared: Any = None) -> Any:
    """Return the output of a completed job: as the type asked for, or as its kind declares.

    Raises:
        JobFailedError, JobCancelledError, JobNotFinishedError: It did not complete.
        CheckpointTypeError: It does not fit the type.
    """
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise failure_of(job)
    if job.output is None:
        raise JobNotFinishedError(job_id=job.job_id, status=job.status.value, action="give its output")
    what = f"output of job {job.job_id!r}"
    if asked is None:
        return codec.decode_value(job.output, declared, None, what=what)
    try:
        return pydantic.TypeAdapter(asked).validate_json(job.output)
    except pydantic.ValidationError as error:
        raise CheckpointTypeError(
            f"{what} does not fit the type that was asked for: {codec.describe_invalid(error)}",
            hint="ask for the type that its kind returns",
        ) from None


def failure_of(job: Job) -> JobError:
    """Return what to raise to whoever waits for the output of a job that did not complete."""
    what = f"job {job.job_id!r} (kind {job.kind!r})"
    if job.status is JobStatus.CANCELLED:
        return JobCancelledError(f"{what} was cancelled")
    told = f"{job.error.type}: {job.error.message}" if job.error else "no error was recorded"
    code = job.error.code if job.error else None
    return JobFailedError(f"{what} failed: {told}", failed_with=code)


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
