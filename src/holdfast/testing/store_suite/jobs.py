"""Submitting, finding, copying jobs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import IdempotencyConflictError, InvalidInputError, JobNotFoundError
from holdfast.ids import new_id
from holdfast.model import Artifact, Budget, Checkpoint, JobStatus
from holdfast.store.base import JobQuery, Store
from holdfast.testing.store_suite.support import (
    UNDO,
    StoreFixtures,
    StoreLab,
    claimed,
    event_types,
    finish,
    job,
    put,
    seconds,
    settle,
    start,
    submit,
)

if TYPE_CHECKING:
    from holdfast.testing.clock import ManualClock


class JobSuite(StoreFixtures):
    """`insert_job`, `get_job`, `list_jobs`, `get_records`, `fork_job`."""

    async def test_insert_queues_job_with_its_first_event(
        self, store: Store, clock: ManualClock
    ) -> None:
        new = job(priority=3, tenant="acme", budget=Budget(usd=Decimal("1.50"), tokens=9))

        submitted = await store.insert_job(new)

        found = submitted.job
        assert submitted.created
        assert found == await store.get_job(new.job_id)
        assert (found.status, found.input, found.priority) == (JobStatus.QUEUED, new.input, 3)
        assert (found.tenant, found.budget, found.event_seq) == ("acme", new.budget, 1)
        assert found.created_at == found.available_at == clock.now()
        assert await event_types(store, new.job_id) == ["job.queued"]

    async def test_delayed_job_is_available_later(self, store: Store, clock: ManualClock) -> None:
        submitted = await store.insert_job(job(delay=seconds(5)))

        assert submitted.job.available_at == clock.now() + seconds(5)

    @pytest.mark.parametrize("tenant", [None, "", "acme"])
    async def test_same_key_and_input_gives_the_same_job(self, store: Store, tenant: str | None) -> None:
        first = await store.insert_job(job(idempotency_key="k", tenant=tenant))

        second = await store.insert_job(job(idempotency_key="k", tenant=tenant))

        assert not second.created
        assert second.job == first.job

    @pytest.mark.parametrize("changes", [{"input": b"2"}, {"kind": "other"}])
    async def test_same_key_with_another_request_conflicts(
        self, store: Store, changes: dict[str, object]
    ) -> None:
        first = await submit(store, idempotency_key="k")

        with pytest.raises(IdempotencyConflictError) as caught:
            await store.insert_job(job(idempotency_key="k", **changes))

        assert caught.value.job_id == first
        assert len(await store.list_jobs(JobQuery())) == 1

    async def test_keys_of_different_tenants_do_not_meet(self, store: Store) -> None:
        made = [
            (await store.insert_job(job(idempotency_key="k", tenant=tenant))).created
            for tenant in (None, "", "a", "b")
        ]

        assert made == [True] * 4

    async def test_same_key_at_once_from_two_processes_makes_one_job(
        self, store: Store, lab: StoreLab
    ) -> None:
        other = await lab.open()

        answers = [await each.insert_job(job(idempotency_key="k")) for each in (store, other) * 3]

        assert [answer.created for answer in answers] == [True] + [False] * 5

    async def test_submitting_the_same_id_again_finds_the_job(self, store: Store) -> None:
        new = job()
        await store.insert_job(new)

        assert not (await store.insert_job(new)).created
        with pytest.raises(IdempotencyConflictError):
            await store.insert_job(job(job_id=new.job_id, input=b"0"))

    async def test_unknown_job_is_not_found(self, store: Store) -> None:
        with pytest.raises(JobNotFoundError):
            await store.get_job("job_none")
        with pytest.raises(JobNotFoundError):
            await store.get_records("job_none")

    async def test_list_pages_through_jobs_newest_first(self, store: Store) -> None:
        ids = [await submit(store, job_id=f"job_{number}") for number in range(5)]

        first = await store.list_jobs(JobQuery(limit=2))
        second = await store.list_jobs(JobQuery(limit=9, before=first[-1].job_id))

        assert [found.job_id for found in (*first, *second)] == ids[::-1]

    async def test_list_filters_by_kind_status_and_tenant(self, store: Store) -> None:
        await submit(store, kind="other", tenant="a")
        done = await start(store, tenant="a")
        await finish(store, done)
        await submit(store, tenant="b")

        async def count(**filters: object) -> int:
            return len(await store.list_jobs(JobQuery(**filters)))  # type: ignore[arg-type]

        assert await count(kind="other") == 1
        assert await count(tenant="a") == 2
        [found] = await store.list_jobs(JobQuery(status=JobStatus.COMPLETED))
        assert (found.job_id, found.output) == (done.job_id, b"{}")

    async def test_list_of_several_kinds_pages_through_those_only(self, store: Store) -> None:
        ids = [
            await submit(store, job_id=f"job_{number}", kind="abc"[number % 3]) for number in range(6)
        ]

        found = await store.list_jobs(JobQuery(kinds=("a", "c"), limit=3))

        assert [each.job_id for each in found] == [ids[5], ids[3], ids[2]]
        assert await store.list_jobs(JobQuery(kinds=())) == []
        assert await store.list_jobs(JobQuery(kinds=("a",), kind="b")) == []

    async def test_list_without_content_leaves_input_and_output_out(self, store: Store) -> None:
        done = await start(store)
        await finish(store, done)

        [found] = await store.list_jobs(JobQuery(content=False))

        whole = await store.get_job(done.job_id)
        assert (whole.output, found.output, found.input) == (b"{}", None, b"")
        assert replace(found, output=whole.output, input=whole.input) == whole

    @pytest.mark.parametrize("limit", [0, 1_001])
    async def test_list_refuses_limits_out_of_range(self, store: Store, limit: int) -> None:
        with pytest.raises(InvalidInputError):
            await store.list_jobs(JobQuery(limit=limit))

    async def test_records_leave_values_out_and_come_in_order(self, store: Store) -> None:
        lease = await start(store)
        for key in "ba":
            await put(store, lease, key)

        records = await store.get_records(lease.job_id)

        assert [(each.key, each.number, each.value) for each in records.checkpoints] == [
            ("b", 1, None),
            ("a", 2, None),
        ]

    # fork ----------------------------------------------------------------------------------------

    async def test_fork_copies_finished_steps_only(self, store: Store) -> None:
        source = await start(store)
        picture = Artifact(name="p.png", sha256="0" * 64, size_bytes=3, media_type="image/png")
        await put(store, source, "a", b"1", artifact=picture, undo=UNDO)
        await put(store, source, "holdfast:sleep/1")
        await store.begin_step(source, "begun", None)
        await put(store, source, "b", b"2")

        forked = await store.fork_job(source.job_id, job(input=b"7", queue="slow"), keep=None)

        assert (forked.status, forked.input, forked.queue) == (JobStatus.QUEUED, b"7", "slow")
        assert await event_types(store, forked.job_id) == ["job.queued"]
        copied = (await claimed(store, forked.job_id)).checkpoints
        assert {key: each.value for key, each in copied.items()} == {"a": b"1", "b": b"2"}
        assert copied["a"].artifact == picture
        assert copied["a"].undo is None

    async def test_fork_keeps_only_named_steps(self, store: Store) -> None:
        source = await start(store)
        for key in "abc":
            await put(store, source, key)

        forked = await store.fork_job(source.job_id, job(), keep=["c", "a"])

        assert list((await claimed(store, forked.job_id)).checkpoints) == ["a", "c"]

    async def test_fork_continues_numbering_after_copied_steps(self, store: Store) -> None:
        source = await start(store)
        await put(store, source, "a")
        forked = await claimed(store, (await store.fork_job(source.job_id, job(), keep=None)).job_id)

        await put(store, forked.lease, "b")

        records = await store.get_records(forked.job.job_id)
        assert [each.number for each in records.checkpoints] == [1, 2]

    async def test_fork_refuses_what_it_cannot_copy(self, store: Store) -> None:
        source = await start(store)
        await store.begin_step(source, "begun", None)
        await put(store, source, "holdfast:sleep/1")

        for key in ("begun", "missing", "holdfast:sleep/1"):
            with pytest.raises(InvalidInputError):
                await store.fork_job(source.job_id, job(), keep=[key])
        with pytest.raises(InvalidInputError):
            await store.fork_job(source.job_id, job(kind="other"), keep=None)
        with pytest.raises(JobNotFoundError):
            await store.fork_job("job_none", job(), keep=None)
        assert len(await store.list_jobs(JobQuery())) == 1

    async def test_fork_does_not_take_undone_steps_for_done(self, store: Store) -> None:
        source = await start(store)
        await put(store, source, "a", undo=UNDO)
        await put(store, source, "b")
        await put(store, source, "holdfast:undo/a")
        await settle(store, source, JobStatus.CANCELLED)

        forked = await store.fork_job(source.job_id, job(), keep=None)

        assert list((await claimed(store, forked.job_id)).checkpoints) == ["b"]

    async def test_fork_is_idempotent(self, store: Store) -> None:
        source = await start(store)
        await store.put_checkpoint(source, Checkpoint(key="a", value=b"1"), ())
        new = job(job_id=new_id("job"))

        first = await store.fork_job(source.job_id, new, keep=None)

        assert await store.fork_job(source.job_id, new, keep=None) == first
