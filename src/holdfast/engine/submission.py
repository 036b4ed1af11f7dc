"""How a job comes in: checked, stored, and only then announced."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from holdfast.errors import DispatchError, InvalidInputError
from holdfast.ids import new_id
from holdfast.model import Budget, Dispatch, JobStatus
from holdfast.store.base import NewJob
from holdfast.telemetry import traces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from holdfast.dispatch.base import Dispatcher
    from holdfast.engine.registry import Registry
    from holdfast.model import Job
    from holdfast.store.base import Store, Submitted

logger = logging.getLogger(__name__)

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


class Submissions:
    """The door for new jobs."""

    def __init__(self, store: Store, registry: Registry, dispatcher: Dispatcher) -> None:
        self._store = store
        self._registry = registry
        self._dispatcher = dispatcher

    async def accept(
        self,
        kind: str,
        value: Any = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Submitted:
        """Accept a job durably; see `JobClient.submit`. Tells whether it is a new one."""
        new = self._new_job(kind, value, idempotency_key, options)
        with submitting("job.submit", new) as traced:
            submitted = await self._store.insert_job(traced)
            await self.announce(submitted.job)
        return submitted

    async def announce(self, job: Job) -> None:
        """Tell the workers of a job if it is queued; a hint, so that it may be lost."""
        if job.status is not JobStatus.QUEUED:
            return
        try:
            await self._dispatcher.dispatch(
                (Dispatch(job_id=job.job_id, queue=job.queue, number=job.event_seq),)
            )
        except DispatchError as error:
            # The job is durable; the waker announces it again.
            logger.warning("dispatch failed", extra={"job_id": job.job_id, "error": error.code})

    def _new_job(
        self, kind: str, value: Any, idempotency_key: str | None, options: SubmitOptions
    ) -> NewJob:
        job_kind = self._registry.get(kind)
        if (
            idempotency_key is not None
            and not 0 < len(idempotency_key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX
        ):
            raise InvalidInputError(
                f"idempotency key of {len(idempotency_key)} characters",
                hint=f"use 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX}, e.g. a hash of the request",
            )
        text, tenant = job_kind.encode_input(value), options.get("tenant")
        priority = options.get("priority")
        key, limit = job_kind.concurrency_of(text, tenant=tenant, key=options.get("concurrency_key"))
        return NewJob(
            job_id=new_id("job"),
            kind=kind,
            queue=options.get("queue") or job_kind.queue,
            input=text,
            priority=job_kind.priority if priority is None else priority,
            tenant=tenant,
            subject=options.get("subject"),
            idempotency_key=idempotency_key,
            concurrency_key=key,
            concurrency_limit=limit,
            budget=options.get("budget") or job_kind.budget,
            delay=options.get("delay"),
        )


@contextlib.contextmanager
def submitting(operation: str, new: NewJob) -> Iterator[NewJob]:
    """Give a job that is inserted in the block the trace that its attempts go on with."""
    span = traces.start_span(f"{operation} {new.kind}", traces.Kind.PRODUCER)
    if span is None:
        yield _traced(new)
        return
    if span.is_recording():
        span.set_attributes(
            {traces.JOB_ID: new.job_id, traces.JOB_KIND: new.kind, traces.QUEUE: new.queue}
        )
    with traces.under(span):
        yield _traced(new)


def _traced(new: NewJob) -> NewJob:
    traceparent = traces.current_traceparent()
    return new if traceparent is None else replace(new, traceparent=traceparent)
