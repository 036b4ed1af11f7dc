"""A store whose content is sealed: wraps any store, and passes on what holds no content."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.errors import IdempotencyConflictError, LeaseLost, SealedValueError, StoreError
from holdfast.model import JobStatus, StoredError
from holdfast.store.base import Claim, JobQuery, JobRecords, Settlement, Submitted
from holdfast.store.bounds import check_job_id, check_name, check_new_job
from holdfast.store.sealed_values import Sealer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model import Budget, Checkpoint, Event, Job, Lease, Progress, UndoCall
    from holdfast.sealing import Keyring
from holdfast.store.base import ClaimRequest, NewEvent, NewJob, Store

logger = logging.getLogger(__name__)

UNREADABLE_WAIT = timedelta(minutes=5)
"""A job that this worker has no key for is handed back for so long."""


class SealedStore:
    """`Store` on another one: seals content on the way in and opens it on the way out.

    Where a job has to be read to go on – `get_job`, `get_records`, `read_events` – what cannot be
    opened raises `SealedValueError`. A list, and the answer of a verb that has changed something,
    leaves it sealed: one job without its key must not hide or hold up the others.
    """

    def __init__(self, store: Store, keys: Keyring) -> None:
        """Wrap an open store, which stays the caller's to close."""
        self._store = store
        self._sealer = Sealer(keys)
        self.hints = store.hints
        # No content passes through these.
        self.beat = store.beat
        self.release_worker = store.release_worker
        self.rescue_jobs = store.rescue_jobs
        self.wake_jobs = store.wake_jobs
        self.reserve_call = store.reserve_call
        self.settle_call = store.settle_call
        self.take_lane = store.take_lane
        self.adjust_lane = store.adjust_lane
        self.prune_jobs = store.prune_jobs
        self.inspect = store.inspect
        if not keys.seals:
            # Nothing to seal: the hottest verbs are spared the detour.
            self.begin_step = store.begin_step  # type: ignore[method-assign]
            self.put_checkpoint = store.put_checkpoint  # type: ignore[method-assign]
            self.append_events = store.append_events  # type: ignore[method-assign]

    # jobs ------------------------------------------------------------------------------------

    async def insert_job(self, new: NewJob) -> Submitted:
        # Before sealing, which is bound to the job's id.
        check_new_job(new)
        try:
            submitted = await self._store.insert_job(self._sealed(new))
        except IdempotencyConflictError as conflict:
            return Submitted(job=await self._same(new, conflict), created=False)
        return replace(submitted, job=self._shown(submitted.job))

    async def fork_job(self, source_id: str, new: NewJob, *, keep: Sequence[str] | None) -> Job:
        check_job_id(source_id)
        check_new_job(new)
        try:
            return self._shown(await self._store.fork_job(source_id, self._sealed(new), keep=keep))
        except IdempotencyConflictError as conflict:
            return await self._same(new, conflict)

    def _sealed(self, new: NewJob) -> NewJob:
        return replace(new, input=self._sealer.seal_json(new.input, "input", new.job_id))

    async def _same(self, new: NewJob, conflict: IdempotencyConflictError) -> Job:
        """Return the job that holds the key if only the sealing of its input differs.

        Equal inputs of two jobs are sealed differently, and so are they under two keys.
        """
        found = await self.get_job(conflict.job_id)
        if (found.kind, found.input) != (new.kind, new.input):
            raise conflict
        return found

    async def get_job(self, job_id: str) -> Job:
        return self._sealer.open_job(await self._store.get_job(job_id))

    async def list_jobs(self, query: JobQuery) -> Sequence[Job]:
        return [self._shown(job) for job in await self._store.list_jobs(query)]

    async def get_records(self, job_id: str) -> JobRecords:
        records = await self._store.get_records(job_id)
        opened = (self._sealer.open_checkpoint(found, job_id) for found in records.checkpoints)
        return replace(records, checkpoints=tuple(opened))

    async def claim_jobs(self, request: ClaimRequest) -> Sequence[Claim]:
        while True:
            opened: list[Claim] = []
            claims = await self._store.claim_jobs(request)
            for claim in claims:
                try:
                    opened.append(self._open_claim(claim))
                except SealedValueError as error:
                    await self._hand_back(claim, error)
            if opened or not claims:
                return opened
            # All were handed back: behind them may wait some that can be opened.

    def _open_claim(self, claim: Claim) -> Claim:
        job_id, sealer = claim.job.job_id, self._sealer
        return replace(
            claim,
            job=sealer.open_job(claim.job),
            checkpoints={
                key: sealer.open_checkpoint(found, job_id) for key, found in claim.checkpoints.items()
            },
            signals=tuple(map(sealer.open_event, claim.signals)),
        )

    async def _hand_back(self, claim: Claim, error: SealedValueError) -> None:
        """Leave the job to a worker that has its key, and tell its readers why."""
        lease = claim.lease
        logger.error("job cannot be opened", extra={"job_id": lease.job_id, "error": error.code})
        described = StoredError(type=type(error).__name__, code=error.code, message=str(error))
        settlement = Settlement(
            status=JobStatus.QUEUED, error=described, available_after=UNREADABLE_WAIT, counts=False
        )
        try:
            await self._store.settle_attempt(lease, settlement)
        except (LeaseLost, StoreError) as trouble:
            # The other claims must reach their worker; this one is rescued once that has left.
            logger.warning(
                "job not handed back", extra={"job_id": lease.job_id, "error": type(trouble).__name__}
            )

    async def settle_attempt(self, lease: Lease, settlement: Settlement) -> Job:
        job_id, sealer = lease.job_id, self._sealer
        output, error, progress = settlement.output, settlement.error, settlement.progress
        sealed = replace(
            settlement,
            output=None if output is None else sealer.seal_json(output, "output", job_id),
            error=None if error is None else sealer.seal_error(error, job_id),
            progress=None if progress is None else sealer.seal_progress(progress, job_id),
        )
        return self._shown(await self._store.settle_attempt(lease, sealed))

    async def cancel_job(self, job_id: str) -> Job:
        return self._shown(await self._store.cancel_job(job_id))

    async def retry_job(self, job_id: str) -> Job:
        return self._shown(await self._store.retry_job(job_id))

    async def signal_job(self, job_id: str, name: str, payload: bytes) -> int:
        check_job_id(job_id)
        check_name("signal", name)
        sealed = self._sealer.seal_json(payload, "signal", job_id, name)
        return await self._store.signal_job(job_id, name, sealed)

    async def set_budget(self, job_id: str, budget: Budget) -> Job:
        return self._shown(await self._store.set_budget(job_id, budget))

    def _shown(self, job: Job) -> Job:
        """Open a job; one that cannot be opened stays sealed."""
        try:
            return self._sealer.open_job(job)
        except SealedValueError:
            return job

    # attempts ----------------------------------------------------------------------------------

    async def begin_step(self, lease: Lease, key: str, undo: UndoCall | None) -> None:
        sealed = None if undo is None else self._sealer.seal_undo(undo, lease.job_id, key)
        await self._store.begin_step(lease, key, sealed)

    async def put_checkpoint(
        self, lease: Lease, checkpoint: Checkpoint, events: Sequence[NewEvent]
    ) -> None:
        # A repeated call comes from the same attempt, so from the same key: sealed, it is equal again.
        sealed = self._sealer.seal_checkpoint(checkpoint, lease.job_id)
        await self._store.put_checkpoint(lease, sealed, self._sealed_events(lease, events))

    async def append_events(
        self, lease: Lease, events: Sequence[NewEvent], progress: Progress | None = None
    ) -> int:
        if progress is not None:
            progress = self._sealer.seal_progress(progress, lease.job_id)
        return await self._store.append_events(lease, self._sealed_events(lease, events), progress)

    def _sealed_events(self, lease: Lease, events: Sequence[NewEvent]) -> Sequence[NewEvent]:
        return events and [self._sealer.seal_event(event, lease.job_id) for event in events]

    async def read_events(
        self,
        job_id: str,
        *,
        after: int = 0,
        limit: int = 500,
        types: Sequence[str] = (),
        bytes_max: int | None = None,
    ) -> Sequence[Event]:
        found = await self._store.read_events(
            job_id, after=after, limit=limit, types=types, bytes_max=bytes_max
        )
        return [self._sealer.open_event(event) for event in found]


async def open_sealed(store: Store, keys: Keyring) -> SealedStore:
    """Return `store` with its content sealed by `keys`.

    Raises:
        SealedValueError: There is no key at all, and the newest job is sealed: a process without
            keys beside others that have them, which would only hand back what it claims.
    """
    if not keys.seals:
        for job in await store.list_jobs(JobQuery(limit=1)):
            Sealer(keys).open_job(job)
    return SealedStore(store, keys)
