"""Values that not every database can hold are refused by all of them, by name."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.errors import InvalidInputError, JobNotFoundError
from holdfast.model import Budget
from holdfast.store.base import JobQuery, PruneRequest, Store
from holdfast.testing.store_suite.support import StoreFixtures, event_types, job, start, submit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NAMES = ("job_id", "kind", "queue", "tenant", "subject", "idempotency_key", "concurrency_key")
UNSTORABLE = ("a\0b", "half of a pair: \ud83d")
LONGEST = "\N{GREEK SMALL LETTER OMEGA}" * 255

BY_JOB_ID: dict[str, Callable[[Store, str], Awaitable[Any]]] = {
    "get_job": lambda store, job_id: store.get_job(job_id),
    "get_records": lambda store, job_id: store.get_records(job_id),
    "cancel_job": lambda store, job_id: store.cancel_job(job_id),
    "retry_job": lambda store, job_id: store.retry_job(job_id),
    "fork_job": lambda store, job_id: store.fork_job(job_id, job(), keep=None),
    "signal_job": lambda store, job_id: store.signal_job(job_id, "go", b"1"),
    "set_budget": lambda store, job_id: store.set_budget(job_id, Budget(tokens=1)),
    "read_events": lambda store, job_id: store.read_events(job_id),
}


class BoundsSuite(StoreFixtures):
    """What comes in at `insert_job`, `fork_job`, and the verbs by which callers look and ask."""

    @pytest.mark.parametrize("name", UNSTORABLE)
    @pytest.mark.parametrize("field", NAMES)
    async def test_name_that_cannot_be_stored_is_refused(
        self, store: Store, field: str, name: str
    ) -> None:
        source = await submit(store)

        for refused in (
            store.insert_job(job(**{field: name})),
            store.fork_job(source, job(**{field: name}), keep=None),
        ):
            with pytest.raises(InvalidInputError, match=f"{field.replace('_', ' ')} .*cannot be stored"):
                await refused

        assert [found.job_id for found in await store.list_jobs(JobQuery())] == [source]

    @pytest.mark.parametrize("field", NAMES)
    async def test_longest_name_is_kept_and_a_longer_one_refused(self, store: Store, field: str) -> None:
        submitted = await store.insert_job(job(**{field: LONGEST}))

        assert getattr(await store.get_job(submitted.job.job_id), field) == LONGEST
        with pytest.raises(InvalidInputError, match=r"has 256 characters, the limit is 255"):
            await store.insert_job(job(**{field: LONGEST + "s"}))

    @pytest.mark.parametrize(
        ("field", "outside", "within"),
        [
            ("priority", 2**31, 2**31 - 1),
            ("priority", -(2**31), 1 - 2**31),
            ("concurrency_limit", 2**31, 2**31 - 1),
            ("concurrency_limit", 0, 1),
            ("delay", timedelta.max, timedelta(days=36_500)),
        ],
    )
    async def test_number_outside_its_bounds_is_refused(
        self, store: Store, field: str, outside: object, within: object
    ) -> None:
        with pytest.raises(InvalidInputError, match=field.replace("_", " ")):
            await store.insert_job(job(**{field: outside}))

        job_id = await submit(store, **{field: within})
        assert (await store.get_job(job_id)).job_id == job_id

    @pytest.mark.parametrize("verb", BY_JOB_ID)
    @pytest.mark.parametrize("job_id", UNSTORABLE)
    async def test_id_that_cannot_be_stored_names_no_job(
        self, store: Store, verb: str, job_id: str
    ) -> None:
        with pytest.raises(JobNotFoundError):
            await BY_JOB_ID[verb](store, job_id)

    @pytest.mark.parametrize("field", ["kind", "tenant", "subject", "parent_id", "before"])
    async def test_query_by_a_name_that_cannot_be_stored_is_refused(
        self, store: Store, field: str
    ) -> None:
        with pytest.raises(InvalidInputError, match="cannot be stored"):
            await store.list_jobs(JobQuery(**{field: "a\0b"}))  # type: ignore[arg-type]

    @pytest.mark.parametrize("field", ["kind", "subject"])
    async def test_prune_by_a_name_that_cannot_be_stored_is_refused(
        self, store: Store, field: str
    ) -> None:
        with pytest.raises(InvalidInputError, match="cannot be stored"):
            await store.prune_jobs(PruneRequest(**{field: "a\0b"}))  # type: ignore[arg-type]

    async def test_signal_whose_name_cannot_be_stored_is_refused(self, store: Store) -> None:
        lease = await start(store)

        with pytest.raises(InvalidInputError, match=r"signal .*cannot be stored"):
            await store.signal_job(lease.job_id, "a\0b", b"1")

        assert "signal.received" not in await event_types(store, lease.job_id)

    async def test_reading_after_a_number_that_no_event_can_have_is_refused(self, store: Store) -> None:
        job_id = await submit(store)

        assert await store.read_events(job_id, after=2**63 - 1) == []
        with pytest.raises(InvalidInputError, match="beyond the largest"):
            await store.read_events(job_id, after=2**63)
