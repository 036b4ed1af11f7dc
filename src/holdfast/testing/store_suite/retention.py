"""What the store promises of deleting jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.errors import InvalidInputError, JobNotFoundError
from holdfast.ids import content_hash
from holdfast.model import Artifact, Checkpoint, JobStatus
from holdfast.store.base import JobQuery, NewEvent, PruneRequest
from holdfast.testing.store_suite.support import (
    StoreFixtures,
    claim,
    claimed,
    finish,
    intent,
    job,
    outcome,
    put,
    settle,
    start,
    submit,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model import Lease
    from holdfast.store.base import Pruned, Store
    from holdfast.testing.clock import ManualClock

AGE = timedelta(seconds=2)
"""Short enough for a lease to outlive it."""
AGE_SECONDS = AGE.total_seconds()


async def done(store: Store, **changes: Any) -> str:
    """Submit a job, claim it and complete it."""
    lease = await start(store, **changes)
    await finish(store, lease)
    return lease.job_id


async def save(store: Store, lease: Lease, content: bytes, name: str = "book.pdf") -> str:
    """Save a file of a job, and return its hash."""
    sha256 = content_hash(content)
    artifact = Artifact(name=name, sha256=sha256, size_bytes=len(content), media_type="application/pdf")
    await put(store, lease, f"artifact/{name}", artifact=artifact)
    return sha256


async def keep_large(store: Store, lease: Lease, content: bytes, key: str = "draft") -> str:
    """Keep a large result of a step, and return its hash."""
    sha256 = content_hash(content)
    await store.put_checkpoint(lease, Checkpoint(key=key, value=None, blob=sha256), ())
    return sha256


async def prune(store: Store, **changes: Any) -> Pruned:
    """Delete jobs once."""
    return await store.prune_jobs(PruneRequest(**changes))


async def prune_all(store: Store, **changes: Any) -> list[str]:
    """Delete jobs until no more are found, and return their ids."""
    job_ids: list[str] = []
    while True:
        pruned = await prune(store, **changes)
        job_ids += pruned.job_ids
        if not pruned.more:
            return job_ids


async def left(store: Store) -> set[str]:
    """Return the ids of the jobs that are there."""
    return {found.job_id for found in await store.list_jobs(JobQuery(limit=1_000))}


async def family(store: Store, children: int = 1, **changes: Any) -> tuple[Lease, Sequence[Lease]]:
    """Start a job and children of it."""
    parent = await start(store)
    return parent, [await start(store, parent=parent, **changes) for _ in range(children)]


class RetentionSuite(StoreFixtures):
    """Pruning and subjects."""

    async def test_jobs_that_ended_long_ago_are_deleted_oldest_first(
        self, store: Store, clock: ManualClock
    ) -> None:
        old = [await done(store)]
        clock.advance(1)
        old.append(await done(store))
        clock.advance(AGE_SECONDS)
        young = await done(store)

        first = await prune(store, older_than=AGE, limit=1)
        second = await prune(store, older_than=AGE, limit=2)

        assert (first.job_ids, first.more) == ((old[0],), True)
        assert (second.job_ids, second.more) == ((old[1],), False)
        assert await left(store) == {young}

    async def test_nothing_is_left_of_a_deleted_job(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store, idempotency_key="invoice-42")
        await store.begin_step(lease, "draft", None)
        await store.reserve_call(lease, intent())
        await store.settle_call(lease, "call_1", outcome())
        await put(store, lease, "draft")
        await save(store, lease, b"book")
        await store.append_events(lease, [NewEvent(type="note.made")])
        await finish(store, lease)
        clock.advance(1)

        await prune(store, older_than=timedelta())

        for verb in (store.get_job, store.get_records, store.read_events, store.retry_job):
            with pytest.raises(JobNotFoundError):
                await verb(lease.job_id)
        again = await store.insert_job(job(job_id=lease.job_id, idempotency_key="invoice-42"))
        records = await store.get_records(lease.job_id)
        events = await store.read_events(lease.job_id)
        assert again.created
        assert (records.checkpoints, records.calls) == ((), ())
        assert [event.type for event in events] == ["job.queued"]

    async def test_unfinished_jobs_stay(self, store: Store, clock: ManualClock) -> None:
        stays = {(await start(store)).job_id, await submit(store)}
        suspended = await start(store)
        await settle(store, suspended, JobStatus.SUSPENDED)
        clock.advance(1)

        assert await prune_all(store, older_than=timedelta()) == []
        assert await prune_all(store, kind="report") == []
        assert await left(store) == stays | {suspended.job_id}

    async def test_retried_job_is_unfinished_again(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store)
        await settle(store, lease, JobStatus.FAILED)
        await store.retry_job(lease.job_id)
        clock.advance(AGE_SECONDS)

        assert await prune_all(store, older_than=AGE) == []
        await finish(store, (await claimed(store, lease.job_id)).lease)
        assert await prune_all(store, older_than=AGE) == []
        clock.advance(AGE_SECONDS)
        assert await prune_all(store, older_than=AGE) == [lease.job_id]

    async def test_only_the_named_kind_is_deleted(self, store: Store, clock: ManualClock) -> None:
        wanted = await done(store)
        other = await submit(store, kind="other")
        await store.cancel_job(other)
        clock.advance(1)

        assert await prune_all(store, kind="report") == [wanted]
        assert await left(store) == {other}

    async def test_dry_run_deletes_nothing(self, store: Store) -> None:
        job_ids = tuple([await done(store) for _ in range(3)])

        some = await prune(store, kind="report", dry_run=True, limit=2)
        all_of_them = await prune(store, kind="report", dry_run=True)

        assert (set(all_of_them.job_ids), all_of_them.more) == (set(job_ids), False)
        assert (len(some.job_ids), some.more) == (2, True)
        assert await left(store) == set(job_ids)

    @pytest.mark.parametrize(
        "request_",
        [
            PruneRequest(),
            PruneRequest(kind="report", limit=0),
            PruneRequest(kind="report", limit=1_001),
            PruneRequest(files=("0" * 64,) * 1_001),
        ],
    )
    async def test_request_without_bounds_is_refused(self, store: Store, request_: PruneRequest) -> None:
        job_id = await done(store)

        with pytest.raises(InvalidInputError):
            await store.prune_jobs(request_)
        assert await left(store) == {job_id}

    # families ----------------------------------------------------------------------------------

    async def test_child_stays_while_its_parent_is_there(self, store: Store, clock: ManualClock) -> None:
        parent, children = await family(store, 3)
        for child in children:
            await finish(store, child)
        clock.advance(2 * AGE_SECONDS)
        unfinished = await prune_all(store, older_than=AGE)
        await finish(store, parent)
        young = await prune_all(store, older_than=AGE)
        clock.advance(AGE_SECONDS)

        gone = await prune_all(store, older_than=AGE, limit=2)

        assert (unfinished, young) == ([], [])
        assert gone[0] == parent.job_id
        assert set(gone[1:]) == {child.job_id for child in children}
        assert await left(store) == set()

    async def test_child_of_a_kind_that_is_kept_longer_outlives_its_parent(
        self, store: Store, clock: ManualClock
    ) -> None:
        parent = await start(store)
        child = await submit(store, kind="chapter", parent=parent)
        await store.cancel_job(child)
        await finish(store, parent)
        clock.advance(1)

        assert await prune_all(store, kind="report") == [parent.job_id]
        assert (await store.get_job(child)).parent_id == parent.job_id
        assert await prune_all(store, kind="chapter") == [child]

    async def test_parent_stays_while_a_child_is_unfinished(
        self, store: Store, clock: ManualClock
    ) -> None:
        parent, (child,) = await family(store)
        await finish(store, parent)
        clock.advance(AGE_SECONDS)

        assert await prune_all(store, older_than=AGE) == []
        await finish(store, child)
        assert await prune_all(store, older_than=AGE) == [parent.job_id]

    async def test_failed_child_can_be_retried_when_its_parent_is_gone(
        self, store: Store, clock: ManualClock
    ) -> None:
        parent, (child,) = await family(store)
        await settle(store, child, JobStatus.FAILED)
        await finish(store, parent)
        clock.advance(AGE_SECONDS)
        await prune(store, older_than=AGE, limit=1)

        await store.retry_job(child.job_id)
        again = (await claimed(store, child.job_id)).lease
        await store.reserve_call(again, intent())
        await store.settle_call(again, "call_1", outcome())
        await finish(store, again)

        assert (await store.get_job(child.job_id)).status is JobStatus.COMPLETED

    # subjects ----------------------------------------------------------------------------------

    async def test_subjects_jobs_are_listed_and_deleted_and_no_others(self, store: Store) -> None:
        wanted = [await done(store, subject="u_1") for _ in range(3)]
        others = {await done(store, subject="u_2"), await done(store)}

        listed = await store.list_jobs(JobQuery(subject="u_1"))
        gone = await prune_all(store, subject="u_1", limit=2)

        assert {found.job_id for found in listed} == set(wanted)
        assert {found.subject for found in listed} == {"u_1"}
        assert set(gone) == set(wanted)
        assert await left(store) == others

    async def test_children_and_forks_hold_the_same_subjects_data(self, store: Store) -> None:
        parent = await start(store, subject="u_1")
        await put(store, parent, "draft")

        child = await store.insert_job(job(parent=parent))
        own = await store.insert_job(job(parent=parent, subject="u_2"))
        fork = await store.fork_job(parent.job_id, job(subject="u_2"), keep=None)

        assert (child.job.subject, own.job.subject, fork.subject) == ("u_1", "u_2", "u_1")
        assert (await store.get_job(child.job.job_id)).subject == "u_1"
        assert (await store.get_job(fork.job_id)).subject == "u_1"

    async def test_subjects_child_goes_before_a_parent_that_is_somebody_elses(
        self, store: Store
    ) -> None:
        parent, (child,) = await family(store, subject="u_1")
        await finish(store, child)
        assert await prune_all(store, subject="u_1") == []

        await finish(store, parent)

        assert await prune_all(store, subject="u_1") == [child.job_id]
        assert await left(store) == {parent.job_id}

    # files -------------------------------------------------------------------------------------

    async def test_files_are_told_once_no_job_refers_to_them(self, store: Store) -> None:
        leases = [await start(store, subject=subject) for subject in ("u_1", "u_2")]
        shared = {await save(store, lease, b"shared") for lease in leases}
        shared |= {await keep_large(store, lease, b"large") for lease in leases}
        own = [await save(store, lease, lease.job_id.encode(), "own") for lease in leases]
        for lease in leases:
            await finish(store, lease)

        first = await prune(store, subject="u_1")
        second = await prune(store, subject="u_2")

        assert first.unreferenced == (own[0],)
        assert set(second.unreferenced) == {own[1], *shared}

    async def test_file_of_one_may_be_the_large_result_of_another(self, store: Store) -> None:
        first, second = await start(store, subject="u_1"), await start(store)
        await save(store, first, b"same")
        await keep_large(store, second, b"same")
        await finish(store, first)

        assert (await prune(store, subject="u_1")).unreferenced == ()

    async def test_files_are_looked_up_without_deleting_a_job(self, store: Store) -> None:
        lease = await start(store)
        used = (await save(store, lease, b"book"), await keep_large(store, lease, b"large"))
        await finish(store, lease)
        stray = content_hash(b"stray")

        pruned = await prune(store, files=(*used, stray))

        assert (pruned.job_ids, pruned.unreferenced, pruned.more) == ((), (stray,), False)
        assert await left(store) == {lease.job_id}

    async def test_transaction_ends_before_it_is_large(self, store: Store) -> None:
        leases = [await start(store) for _ in range(3)]
        for lease in leases:
            for _ in range(5):
                await store.append_events(lease, [NewEvent(type="note.made")] * 800)
            await finish(store, lease)

        first = await prune(store, kind="report")
        rest = await prune_all(store, kind="report")

        assert (len(first.job_ids), first.more) == (1, True)
        assert len(rest) == 2

    async def test_leases_of_deleted_jobs_fit_no_later_job(self, store: Store) -> None:
        lease = await start(store, subject="u_1")
        await finish(store, lease)
        await prune(store, subject="u_1")

        later = await start(store)

        assert later.row != lease.row
        assert await claim(store) is None
