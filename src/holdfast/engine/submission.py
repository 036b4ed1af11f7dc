"""How a job comes in: checked, stored, and only then announced."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from holdfast.errors import (
    ConfigError,
    DispatchError,
    InvalidInputError,
    JobNotFoundError,
    StoreError,
)
from holdfast.ids import new_id
from holdfast.jobs import IDEMPOTENCY_KEY_CHARACTERS_MAX
from holdfast.model import Dispatch, JobStatus
from holdfast.store.base import NewJob
from holdfast.store.hints import QUEUED
from holdfast.telemetry import traces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.dispatch.base import Dispatcher
    from holdfast.engine.registry import Registry
    from holdfast.jobs import SubmitOptions
    from holdfast.model import Job
    from holdfast.store.base import Enlister, Store, Submitted

    OpenEnlister = Callable[[], Enlister]

logger = logging.getLogger(__name__)

COMMIT_SECONDS = 5.0
"""How long after its beginning a commit of the caller's is waited for; later ones are the waker's."""

FOLLOWED_MAX = 1_000
"""Commits waited for at once; the jobs of more are the waker's to announce."""


class Submissions:
    """The door for new jobs."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        dispatcher: Dispatcher,
        enlister: OpenEnlister | None = None,
    ) -> None:
        """Take what jobs come in by; `enlister` is asked for only where it is used."""
        self._store = store
        self._registry = registry
        self._dispatcher = dispatcher
        self._enlister = enlister
        self._followed: set[asyncio.Task[None]] = set()

    async def accept(
        self,
        kind: str,
        value: Any = None,
        *,
        idempotency_key: str | None = None,
        within: object | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Submitted:
        """Accept a job durably; see `JobClient.submit`. Tells whether it is a new one."""
        new = new_job(self._registry, kind, value, idempotency_key, options)
        with submitting("submit", new) as traced:
            if within is not None:
                return await self._enlist(within, traced)
            submitted = await self._store.insert_job(traced)
            await self.announce(submitted.job)
        return submitted

    def draft(
        self,
        kind: str,
        value: Any = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> NewJob:
        """Return a job for a store's verb that inserts it with rows of its own; see `JobClient.submit`.

        Once that is committed, `announce` it.
        """
        return _traced(new_job(self._registry, kind, value, idempotency_key, options))

    async def close(self) -> None:
        """Wait no longer for commits of callers."""
        for task in self._followed:
            task.cancel()
        await asyncio.gather(*self._followed, return_exceptions=True)

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

    # in transactions of others ---------------------------------------------------------------------

    async def _enlist(self, within: object, new: NewJob) -> Submitted:
        if self._enlister is None:
            raise ConfigError(
                "this client takes no part in transactions of others",
                hint="use the one that App.client() gives",
            )
        loop = asyncio.get_running_loop()

        def committing() -> None:
            try:
                loop.call_soon_threadsafe(self._follow, new.job_id)
            except RuntimeError:
                # The loop has ended before the commit, which must not fail by it; the waker announces.
                logger.debug("commit not followed", extra={"job_id": new.job_id})

        return await self._enlister().insert_job(within, new, committing)

    def _follow(self, job_id: str) -> None:
        if len(self._followed) < FOLLOWED_MAX:
            task = asyncio.create_task(
                self._announce_committed(job_id), name=f"holdfast-commit-{job_id}"
            )
            self._followed.add(task)
            task.add_done_callback(self._followed.discard)

    async def _announce_committed(self, job_id: str) -> None:
        """Announce a job once the commit that has begun is seen to have happened."""
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self.announce(await self._committed(job_id))
        except TimeoutError:
            # Rolled back in the end, or later than one waits for.
            logger.debug("commit not seen", extra={"job_id": job_id})
        except StoreError as error:
            logger.warning("commit not followed", extra={"job_id": job_id, "error": error.code})

    async def _committed(self, job_id: str) -> Job:
        with self._store.hints.subscribe(QUEUED) as news:
            while True:
                news.clear()
                try:
                    return await self._store.get_job(job_id)
                except JobNotFoundError:
                    await news.wait()


def new_job(
    registry: Registry, kind: str, value: Any, idempotency_key: str | None, options: SubmitOptions
) -> NewJob:
    """Return what the store is to keep of a submission.

    Raises:
        UnknownJobKindError, InvalidInputError: See `holdfast.jobs.Jobs.submit`.
    """
    job_kind = registry.get(kind)
    if idempotency_key is not None and not 0 < len(idempotency_key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX:
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
def submitting(verb: str, new: NewJob) -> Iterator[NewJob]:
    """Give a job that is inserted in the block the trace that its attempts go on with."""
    span = traces.start_span(f"job.{verb} {new.kind}", traces.Kind.PRODUCER)
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
