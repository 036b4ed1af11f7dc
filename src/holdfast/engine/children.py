"""Child jobs: steps whose work is another job, in its own queue and with its own attempts.

A child's id follows from its parent's id and its key, so that spawning it again finds it. Its
output becomes the checkpoint of its key once the parent has seen it: kept with the parent like
any result, by a fork too. What is not completed is looked up in the store in every attempt.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from holdfast import codec
from holdfast.engine.attempt import Ending
from holdfast.engine.branches import Wait
from holdfast.engine.mapping import OnError
from holdfast.engine.steps import (
    INLINE_BYTES_MAX,
    check_public_key,
    claim_key,
    load_result,
    store_checkpoint,
    wait_while_draining,
)
from holdfast.errors import (
    DispatchError,
    IdempotencyConflictError,
    InvalidInputError,
    JobFinishedError,
    LeaseLost,
    MapFailedError,
    StepUsageError,
    UnknownJobKindError,
)
from holdfast.ids import child_id
from holdfast.jobs import failure_of
from holdfast.model import Budget, Checkpoint, Dispatch, Job, JobStatus, SuspendReason
from holdfast.store.base import NewJob
from holdfast.telemetry.traces import current_traceparent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from holdfast.engine.attempt import Attempt
    from holdfast.engine.registry import JobKind

logger = logging.getLogger(__name__)

T = TypeVar("T")

AT_ONCE_MAX = 50
"""Children read, kept or cancelled at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnCall:
    """What an author asks of a child job."""

    key: str
    kind: str | Callable[..., Awaitable[Any]]
    value: Any
    queue: str | None
    priority: int | None
    budget: Budget | None
    concurrency_key: str | None
    returns: Any


class Child(Generic[T]):
    """A child job as its parent holds it; what `JobContext.spawn` gives."""

    def __init__(self, attempt: Attempt, key: str, output_type: Any) -> None:
        self.key = key
        """The step key it was spawned under."""
        self.job_id = child_id(attempt.job.job_id, key)
        self._attempt = attempt
        self._output_type = output_type

    async def result(self) -> T:
        """Wait for the child and return its output; no worker slot is held meanwhile.

        Raises:
            JobFailedError: It failed.
            JobCancelledError: It was cancelled.
        """
        [value] = await gather(self._attempt, [self], OnError.FAIL)
        found: T = value
        return found

    @property
    def kept(self) -> Checkpoint | None:
        """The output, if the parent has stored it."""
        found = self._attempt.checkpoints.get(self.key)
        return found if found is not None and found.finished else None

    async def load(self) -> T:
        """Return the output that the parent has stored."""
        kept = self._attempt.checkpoints[self.key]
        found: T = await load_result(self._attempt, kept, self._output_type)
        return found


# spawning ----------------------------------------------------------------------------------------


async def spawn(attempt: Attempt, call: SpawnCall) -> Child[Any]:
    """Queue the child, or find it, and return a handle on it.

    Raises:
        DuplicateStepError, StepUsageError: The key cannot be used.
        UnknownJobKindError: The kind is not registered here and no queue is named.
        InvalidInputError: The input does not fit the kind.
        LeaseLost: The attempt no longer owns the job.
    """
    check_public_key(call.key)
    claim_key(attempt, call.key)
    kind = _kind_of(attempt, call)
    declared = call.returns if kind is None or call.returns is not None else kind.output_type
    child: Child[Any] = Child(attempt, call.key, declared)
    if child.kept is None:
        new = _new_job(attempt, call, kind, child.job_id)
        await wait_while_draining(attempt)
        with attempt.branches.running_step():
            attempt.children[child.job_id] = (await _insert(attempt, new)).status.terminal
    return child


def _kind_of(attempt: Attempt, call: SpawnCall) -> JobKind | None:
    """Return the kind; None for one that only the workers of the named queue know."""
    try:
        return attempt.registry.find(call.kind)
    except UnknownJobKindError:
        if call.queue is None or not isinstance(call.kind, str):
            raise
        return None


def _new_job(attempt: Attempt, call: SpawnCall, kind: JobKind | None, job_id: str) -> NewJob:
    parent = attempt.job
    key, limit = None, None
    if kind is None:
        name = str(call.kind)
        text, _ = codec.encode_value(call.value, None, what=f"input of child {call.key!r}")
        if call.concurrency_key is not None:
            raise InvalidInputError(
                f"child {call.key!r} has a concurrency key, but kind {name!r} is not registered here",
                hint="register the kind, which declares the limit, or leave concurrency_key out",
            )
    else:
        name, text = kind.kind, kind.encode_input(call.value)
        key, limit = kind.concurrency_of(text, tenant=parent.tenant, key=call.concurrency_key)
    return NewJob(
        job_id=job_id,
        kind=name,
        queue=call.queue or (kind.queue if kind else name),
        input=text,
        priority=parent.priority if call.priority is None else call.priority,
        tenant=parent.tenant,
        subject=parent.subject,
        parent=attempt.lease,
        concurrency_key=key,
        concurrency_limit=limit,
        budget=call.budget or (kind.budget if kind else Budget()),
        traceparent=current_traceparent() or parent.traceparent,
    )


async def _insert(attempt: Attempt, new: NewJob) -> Job:
    try:
        submitted = await attempt.store.insert_job(new)
    except LeaseLost:
        attempt.end(Ending.LOST)
        raise
    except IdempotencyConflictError:
        # Code between steps runs again and may make another input of it: the first one stays.
        found = await attempt.store.get_job(new.job_id)
        if found.kind != new.kind:
            raise StepUsageError(
                f"child {new.job_id!r} of job {attempt.job.job_id!r} is a {found.kind!r} already, "
                f"not a {new.kind!r}",
                hint="spawn the other kind under another key",
            ) from None
        return found
    if submitted.created:
        await _announce(attempt, submitted.job)
    return submitted.job


async def _announce(attempt: Attempt, job: Job) -> None:
    if job.status is not JobStatus.QUEUED or attempt.dispatcher is None:
        return
    try:
        await attempt.dispatcher.dispatch(
            (Dispatch(job_id=job.job_id, queue=job.queue, number=job.event_seq),)
        )
    except DispatchError as error:
        # The job is durable; the waker announces it again.
        logger.warning("dispatch failed", extra={"job_id": job.job_id, "error": error.code})


# waiting -----------------------------------------------------------------------------------------


async def gather(attempt: Attempt, children: Sequence[Child[Any]], on_error: OnError) -> list[Any]:
    """Wait until all children have ended and return their outputs in order.

    Raises:
        JobFailedError, JobCancelledError: A child did not complete, under `OnError.FAIL`; the
            others were cancelled and have ended, too.
        MapFailedError: Children did not complete, under `OnError.FINISH`.
        StepUsageError: A child is not of this attempt.
    """
    for child in children:
        if not isinstance(child, Child) or child._attempt is not attempt:  # noqa: SLF001 - its own module
            raise StepUsageError(
                f"gather of job {attempt.job.job_id!r} got {type(child).__name__} {child!r:.80}",
                hint="pass what job.spawn returned: await job.gather(*children)",
            )
    failed = await _Waiting(attempt, children, on_error).run()
    if failed and on_error is OnError.FAIL:
        raise failure_of(min(failed.values(), key=_when_ended))
    if failed:
        failures = {key: failure_of(job) for key, job in failed.items()}
        raise MapFailedError(what="child jobs", failures=failures, total=len(children))
    return [await child.load() for child in children]


def _when_ended(job: Job) -> tuple[float, bool]:
    """Sort the first that ended first, and what failed before what was cancelled for it."""
    ended = job.finished_at.timestamp() if job.finished_at else 0.0
    return ended, job.status is JobStatus.CANCELLED


class _Waiting:
    """A wait for some children of an attempt."""

    def __init__(self, attempt: Attempt, children: Iterable[Child[Any]], on_error: OnError) -> None:
        self._attempt = attempt
        self._left = {child.job_id: child for child in children if child.kept is None}
        self._failed: dict[str, Job] = {}
        self._on_error = on_error
        self._cancelled = False

    async def run(self) -> dict[str, Job]:
        """Return the children that did not complete, by key; the outputs of the others are stored."""
        attempt = self._attempt
        while self._left:
            await wait_while_draining(attempt)
            changes = attempt.changes
            # What is known from here on must be acted on before the attempt may suspend.
            with attempt.branches.running_step():
                await attempt.refresh_signals()
                ended = [child for job_id, child in self._left.items() if attempt.children[job_id]]
                await _some_at_once(self._take, ended)
                if self._failed and self._on_error is OnError.FAIL and not self._cancelled:
                    self._cancelled = True
                    await _some_at_once(self._cancel, list(self._left.values()))
            if self._left and not any(attempt.children[job_id] for job_id in self._left):
                wait = Wait(reason=SuspendReason.CHILDREN, children=frozenset(self._left))
                with attempt.branches.waiting(wait):
                    await attempt.changed(changes)
        return self._failed

    async def _take(self, child: Child[Any]) -> None:
        """Look at a child that is said to have ended, and keep its output."""
        attempt = self._attempt
        job = await attempt.store.get_job(child.job_id)
        if not job.status.terminal:
            # It has been retried since.
            attempt.children[child.job_id] = False
            return
        if job.status is not JobStatus.COMPLETED:
            self._failed[child.key] = job
        elif child.kept is None:
            await _keep(attempt, child.key, job)
        del self._left[child.job_id]

    async def _cancel(self, child: Child[Any]) -> None:
        try:
            job = await self._attempt.store.cancel_job(child.job_id)
        except JobFinishedError:
            return
        self._attempt.children[child.job_id] = job.status.terminal
        await _announce(self._attempt, job)


async def _keep(attempt: Attempt, key: str, job: Job) -> None:
    text = job.output or b"null"
    large = len(text) > INLINE_BYTES_MAX
    blob = await attempt.blobs.put_bytes(text) if large else None
    began, ended = job.started_at or job.created_at, job.finished_at or job.created_at
    seconds = (ended - began).total_seconds()
    value = None if large else text
    await store_checkpoint(attempt, Checkpoint(key=key, value=value, blob=blob, seconds=seconds))


async def _some_at_once(
    act: Callable[[Child[Any]], Awaitable[None]], children: Sequence[Child[Any]]
) -> None:
    for begin in range(0, len(children), AT_ONCE_MAX):
        # All of them end before the first trouble is told: none is left behind.
        outcomes = await asyncio.gather(
            *map(act, children[begin : begin + AT_ONCE_MAX]), return_exceptions=True
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
