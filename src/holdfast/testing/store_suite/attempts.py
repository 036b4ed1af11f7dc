"""Steps, checkpoints, events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import CheckpointConflictError, JobNotFoundError, LeaseLost
from holdfast.model import Artifact, Checkpoint, JobStatus, Lease, Progress, UndoCall
from holdfast.store.base import NewEvent, Settlement, Store
from holdfast.testing.store_suite.support import (
    UNDO,
    StoreFixtures,
    claimed,
    event_types,
    intent,
    last_event,
    lose_worker,
    outcome,
    put,
    settle,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.testing.clock import ManualClock

FENCED: dict[str, Callable[[Store, Lease], Awaitable[object]]] = {
    "begin_step": lambda store, lease: store.begin_step(lease, "a", None),
    "put_checkpoint": lambda store, lease: put(store, lease, "a"),
    "append_events": lambda store, lease: store.append_events(lease, [NewEvent(type="x")]),
    "append_progress": lambda store, lease: store.append_events(lease, (), Progress(done=1)),
    "reserve_call": lambda store, lease: store.reserve_call(lease, intent("new")),
    "settle_call": lambda store, lease: store.settle_call(lease, "old", outcome()),
    "settle_attempt": lambda store, lease: store.settle_attempt(
        lease, Settlement(status=JobStatus.COMPLETED)
    ),
}


class AttemptSuite(StoreFixtures):
    """`begin_step`, `put_checkpoint`, `append_events`, `read_events`, and the fence of all writes."""

    @pytest.mark.parametrize("verb", FENCED)
    @pytest.mark.parametrize("claimed_again", [False, True])
    async def test_old_lease_changes_nothing(
        self, store: Store, clock: ManualClock, verb: str, *, claimed_again: bool
    ) -> None:
        lease = await start(store)
        await store.reserve_call(lease, intent("old"))
        await lose_worker(store, clock)
        if claimed_again:
            await claimed(store, lease.job_id)
        before = await store.get_job(lease.job_id), await store.get_records(lease.job_id)

        with pytest.raises(LeaseLost):
            await FENCED[verb](store, lease)

        assert (await store.get_job(lease.job_id), await store.get_records(lease.job_id)) == before
        assert len(await store.read_events(lease.job_id)) == before[0].event_seq

    async def test_lost_lease_in_a_batch_harms_nobody_else(self, store: Store) -> None:
        lost = await start(store)
        await settle(store, lost, JobStatus.COMPLETED)
        live = await start(store)

        async def write(lease: Lease, key: str) -> bool:
            try:
                await put(store, lease, key)
            except LeaseLost:
                return False
            return True

        kept = await asyncio.gather(
            *(write(lease, str(number)) for number in range(50) for lease in (lost, live))
        )

        assert kept == [False, True] * 50
        assert len((await store.get_records(live.job_id)).checkpoints) == 50

    async def test_begin_step_records_undo_and_counts_starts(self, store: Store) -> None:
        lease = await start(store)
        newer = UndoCall(function="shop:refund", arguments=b"[[2],{}]")

        await store.begin_step(lease, "pay", UNDO)
        await store.begin_step(lease, "other", None)
        await store.begin_step(lease, "pay", newer)
        await store.begin_step(lease, "pay", None)

        begun, _ = (await store.get_records(lease.job_id)).checkpoints
        assert (begun.finished, begun.starts, begun.undo, begun.number) == (False, 3, newer, 1)
        assert await event_types(store, lease.job_id) == ["job.queued", "attempt.started"]

    async def test_begin_step_leaves_finished_step_alone(self, store: Store) -> None:
        lease = await start(store)
        await put(store, lease, "a")
        before = await store.get_records(lease.job_id)

        await store.begin_step(lease, "a", UNDO)

        assert await store.get_records(lease.job_id) == before

    async def test_checkpoint_is_stored_with_its_events(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store)
        checkpoint = Checkpoint(
            key="draft",
            value=b'"text"',
            blob=None,
            type_name="m:T",
            undo=UNDO,
            seconds=1.5,
            attempts=2,
            artifact=Artifact(name="a.txt", sha256="f" * 64, size_bytes=9, media_type="text/plain"),
        )

        await store.put_checkpoint(
            lease, checkpoint, [NewEvent(type="x", data=b'{"n":1}'), NewEvent(type="y")]
        )

        events = await store.read_events(lease.job_id, after=2)
        assert [(event.seq, event.type) for event in events] == [
            (3, "step.completed"),
            (4, "x"),
            (5, "y"),
        ]
        assert events[0].data == b'{"key":"draft","seconds":1.5,"attempts":2}'
        assert events[1].data == b'{"n":1}'
        await settle(store, lease, JobStatus.QUEUED)
        [stored] = (await claimed(store, lease.job_id)).checkpoints.values()
        expected = {"number": 1, "finished_at": clock.now()}
        assert {name: getattr(stored, name) for name in Checkpoint.__slots__} == {
            name: getattr(checkpoint, name) for name in Checkpoint.__slots__
        } | expected

    async def test_large_result_is_kept_by_its_hash(self, store: Store) -> None:
        lease = await start(store)

        await store.put_checkpoint(lease, Checkpoint(key="a", blob="0" * 64), ())

        [stored] = (await store.get_records(lease.job_id)).checkpoints
        assert (stored.finished, stored.blob) == (True, "0" * 64)

    async def test_finishing_keeps_the_undo_of_the_beginning(self, store: Store) -> None:
        lease = await start(store)
        await store.begin_step(lease, "pay", UNDO)
        await put(store, lease, "a")

        await put(store, lease, "pay")

        first, second = (await store.get_records(lease.job_id)).checkpoints
        assert (first.key, second.key, second.number) == ("a", "pay", 3)
        assert (second.finished, second.undo) == (True, UNDO)

    async def test_repeated_checkpoint_changes_nothing(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store)
        await put(store, lease, "a", b"1")
        before = await store.get_job(lease.job_id), await store.get_records(lease.job_id)
        clock.advance(1)

        await store.put_checkpoint(lease, Checkpoint(key="a", value=b"1"), [NewEvent(type="x")])

        assert (await store.get_job(lease.job_id), await store.get_records(lease.job_id)) == before

    async def test_checkpoint_with_another_value_conflicts(self, store: Store) -> None:
        lease = await start(store)
        await put(store, lease, "a", b"1")
        before = await store.get_job(lease.job_id)

        with pytest.raises(CheckpointConflictError):
            await put(store, lease, "a", b"2")
        with pytest.raises(CheckpointConflictError):
            await store.put_checkpoint(lease, Checkpoint(key="a", blob="0" * 64), ())

        assert await store.get_job(lease.job_id) == before

    async def test_events_are_numbered_without_gaps(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store)

        async def append(count: int) -> int:
            return await store.append_events(lease, [NewEvent(type="x")] * count)

        lasts = await asyncio.gather(*(append(count) for count in (1, 3, 2, 0, 4)))

        events = await store.read_events(lease.job_id)
        assert [event.seq for event in events] == list(range(1, 13))
        assert sorted(lasts) == sorted([3, 6, 8, 8, 12])
        assert {event.at for event in events} == {clock.now()}
        assert {event.job_id for event in events} == {lease.job_id}

    async def test_progress_is_kept_on_the_job(self, store: Store, clock: ManualClock) -> None:
        lease = await start(store)
        progress = Progress(done=2, total=5.5, label="Kapitel ♈", eta_seconds=None, at=clock.now())

        assert await store.append_events(lease, (), progress) == 2

        assert (await store.get_job(lease.job_id)).progress == progress

    async def test_events_are_read_in_pages_and_by_type(self, store: Store) -> None:
        lease = await start(store)
        await store.append_events(lease, [NewEvent(type=kind) for kind in "xyxy"])

        page = await store.read_events(lease.job_id, after=2, limit=2)
        of_type = await store.read_events(lease.job_id, types=("y", "job.queued"))

        assert [(event.seq, event.type) for event in page] == [(3, "x"), (4, "y")]
        assert [event.seq for event in of_type] == [1, 4, 6]
        assert await store.read_events(lease.job_id, after=6) == []
        with pytest.raises(JobNotFoundError):
            await store.read_events("job_none")

    async def test_events_are_read_up_to_so_many_bytes_but_always_one(self, store: Store) -> None:
        lease = await start(store)
        first = (await store.get_job(lease.job_id)).event_seq
        for size in (1_000, 1_000, 50_000, 10):
            filled = b'{"text":"' + b"x" * size + b'"}'
            await store.append_events(lease, [NewEvent(type="x.filled", data=filled)])

        async def read(after: int, bytes_max: int | None) -> list[int]:
            found = await store.read_events(lease.job_id, after=first + after, bytes_max=bytes_max)
            return [event.seq - first for event in found]

        assert await read(0, 4_000) == [1, 2]
        assert await read(2, 4_000) == [3]
        assert await read(3, 4_000) == [4]
        assert await read(0, None) == [1, 2, 3, 4]
        assert await read(4, 4_000) == []

    async def test_cancelled_caller_leaves_the_store_whole(self, store: Store) -> None:
        """The write may have happened or not; all others are untouched."""
        lease = await start(store)
        tasks = [asyncio.create_task(put(store, lease, str(number))) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()

        await asyncio.gather(*tasks, return_exceptions=True)

        await put(store, lease, "last")
        kept = {checkpoint.key for checkpoint in (await store.get_records(lease.job_id)).checkpoints}
        assert kept >= {str(number) for number in range(1, 20, 2)} | {"last"}
        events = await store.read_events(lease.job_id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert (await last_event(store, lease.job_id))[1]["key"] == "last"
