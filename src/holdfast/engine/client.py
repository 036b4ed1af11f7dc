"""What a caller does with jobs: submit, look, wait, cancel, signal, retry, fork, read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from holdfast import codec
from holdfast.engine.progress import with_family_progress
from holdfast.engine.retention import Retention
from holdfast.engine.submission import Submissions, submitting
from holdfast.ids import new_id
from holdfast.jobs import decoded_output
from holdfast.store.base import JobQuery, NewJob
from holdfast.store.hints import ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from holdfast.artifacts.base import ArtifactStore
    from holdfast.dispatch.base import Dispatcher
    from holdfast.engine.registry import Registry
    from holdfast.engine.submission import OpenEnlister
    from holdfast.jobs import SubmitOptions
    from holdfast.model import Artifact, Budget, Event, Job
    from holdfast.store.base import JobRecords, Store

EVENT_PAGE = 500


class JobClient:
    """`holdfast.jobs.Jobs` of one store. Holds no state of its own; needs no worker nearby."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        dispatcher: Dispatcher,
        artifacts: ArtifactStore,
        enlister: OpenEnlister | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self.submissions = Submissions(store, registry, dispatcher, enlister)
        """How jobs come in; `submit` is what most callers want of it."""
        self.artifact_store = artifacts
        """Where the content of artifacts lies."""
        self.retention = Retention(store, artifacts)
        """Deletes jobs that shall not be kept; for one subject's, see `holdfast.engine.subjects`."""

    async def submit(
        self,
        kind: str,
        value: Any = None,
        *,
        idempotency_key: str | None = None,
        within: object | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Job:
        """Accept a job durably and return it.

        Args:
            kind: A registered kind.
            value: Its input, fitting the kind's declared type.
            idempotency_key: The same key with the same input gives the same job.
            within: A session or connection of SQLAlchemy's to the store's own database: the job is
                accepted once its transaction is committed, and only then.
            **options: See `SubmitOptions`.

        Raises:
            UnknownJobKindError: No such kind is registered here.
            InvalidInputError: The input does not fit, the key is too long, or the kind declares no
                limit for a concurrency key.
            IdempotencyConflictError: The key belongs to a different request.
            ConfigError: `within` is no such session or connection.
        """
        submitted = await self.submissions.accept(
            kind, value, idempotency_key=idempotency_key, within=within, **options
        )
        return submitted.job

    async def get(self, job_id: str, *, with_children: bool = False) -> Job:
        """Return the job.

        Args:
            job_id: Its id.
            with_children: Add to its progress what its children tell of theirs, whether or not a
                worker has it: each counts as 1, one that has not ended by its own fraction.

        Raises:
            JobNotFoundError: There is none with this id.
        """
        job = await self._store.get_job(job_id)
        if with_children:
            job = await with_family_progress(self._store, job)
        return job

    async def list(self, query: JobQuery | None = None) -> Sequence[Job]:
        """Return jobs, newest first."""
        return await self._store.list_jobs(query or JobQuery())

    async def records(self, job_id: str) -> JobRecords:
        """Return the job's steps and ledger.

        Raises:
            JobNotFoundError: There is none with this id.
        """
        return await self._store.get_records(job_id)

    async def cancel(self, job_id: str) -> Job:
        """Ask for the job's end; its owner acts within a second.

        Raises:
            JobNotFoundError: There is none with this id.
            JobFinishedError: It has completed or failed.
        """
        job = await self._store.cancel_job(job_id)
        await self.submissions.announce(job)
        return job

    async def signal(self, job_id: str, name: str, payload: Any = None) -> int:
        """Send the job a signal and return the number of its event.

        Raises:
            JobNotFoundError: There is none with this id.
            JobFinishedError: It is terminal.
            UnserializableValueError: The payload has no JSON form.
        """
        text, _ = codec.encode_value(payload, None, what=f"payload of signal {name!r}")
        seq = await self._store.signal_job(job_id, name, text)
        await self.submissions.announce(await self._store.get_job(job_id))
        return seq

    async def retry(self, job_id: str) -> Job:
        """Run a failed or cancelled job again from where it ended; finished steps stay.

        Raises:
            JobNotFoundError, JobFinishedError, JobNotFinishedError: It cannot be retried.
        """
        job = await self._store.retry_job(job_id)
        await self.submissions.announce(job)
        return job

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
            JobNotFoundError, InvalidInputError: The source or a key of `keep` does not exist.
        """
        source = await self._store.get_job(job_id)
        # One of Holdfast's own jobs may be copied, but nobody makes up another input for it.
        find = self._registry.find_runnable if value is None else self._registry.get
        kind = find(source.kind)
        text = source.input if value is None else kind.encode_input(value)
        key, limit = kind.concurrency_of(text, tenant=source.tenant, key=None)
        new = NewJob(
            job_id=new_id("job"),
            kind=source.kind,
            queue=source.queue,
            input=text,
            priority=source.priority,
            tenant=source.tenant,
            subject=source.subject,
            concurrency_key=key,
            concurrency_limit=limit,
            budget=budget or source.budget,
        )
        with submitting("fork", new) as traced:
            job = await self._store.fork_job(job_id, traced, keep=keep)
            await self.submissions.announce(job)
        return job

    async def set_budget(self, job_id: str, budget: Budget) -> Job:
        """Replace the job's budget; a job that waits for budget goes on.

        Raises:
            JobNotFoundError: There is none with this id.
            JobFinishedError: It is terminal.
        """
        job = await self._store.set_budget(job_id, budget)
        await self.submissions.announce(job)
        return job

    async def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[Event]:
        """Yield the job's events in order, live, from after `after` until the job has ended.

        Raises:
            JobNotFoundError: There is none with this id.
        """
        with self._store.hints.subscribe(job_id) as grown:
            while True:
                grown.clear()
                # The status is read before the events: what ends a job is its last event.
                status = (await self._store.get_job(job_id)).status
                page = await self._store.read_events(job_id, after=after, limit=EVENT_PAGE)
                for event in page:
                    after = event.seq
                    yield event
                if page:
                    continue
                if status.terminal:
                    return
                await grown.wait()

    async def wait(self, job_id: str) -> Job:
        """Return the job once it is terminal.

        Raises:
            JobNotFoundError: There is none with this id.
        """
        with self._store.hints.subscribe(ended(job_id)) as hint:
            while True:
                hint.clear()
                job = await self._store.get_job(job_id)
                if job.status.terminal:
                    return job
                await hint.wait()

    async def result(self, job_id: str, *, output: Any = None) -> Any:
        """Wait for the job and return its output, as the type `output` or as its kind declares.

        Raises:
            JobFailedError: It failed.
            JobCancelledError: It was cancelled.
            CheckpointTypeError: The output does not fit the type.
        """
        return self.output_of(await self.wait(job_id), output=output)

    def output_of(self, job: Job, *, output: Any = None) -> Any:
        """Decode the output of a completed job; see `result`.

        Raises:
            JobFailedError, JobCancelledError, CheckpointTypeError: See `result`.
            JobNotFinishedError: It has not ended.
        """
        known = job.kind in self._registry
        declared = self._registry.get(job.kind).output_type if known else None
        return decoded_output(job, output, declared=declared)

    async def artifacts(self, job_id: str) -> Sequence[Artifact]:
        """Return the files that the job has saved so far.

        Raises:
            JobNotFoundError: There is none with this id.
        """
        records = await self._store.get_records(job_id)
        return [found.artifact for found in records.checkpoints if found.artifact is not None]

    def stream_artifact(self, artifact: Artifact) -> AsyncIterator[bytes]:
        """Yield an artifact's content in chunks.

        Raises:
            ArtifactError: It cannot be read.
        """
        return self.artifact_store.stream(artifact.sha256)
