"""The service's part of the store: keys, positions of logs, lists by time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import pytest

from holdfast.errors import InvalidInputError
from holdfast.model import JobStatus
from holdfast.store import service
from holdfast.store.base import JobQuery
from holdfast.store.service import ApiKey
from holdfast.testing.store_suite.support import finish, start, submit, worker

if TYPE_CHECKING:
    from holdfast.store.sql_store import SqlStore
    from holdfast.testing.clock import ManualClock

_AT = datetime(2026, 5, 20, 12, tzinfo=UTC)


class ServiceLab(Protocol):
    """Opens stores of one database that have the service's part."""

    clock: ManualClock

    async def open(self) -> SqlStore:
        """Open a store; the lab closes it."""
        ...


def api_key(key_id: str = "hf_1", **changes: object) -> ApiKey:
    """Return a key to be kept."""
    key = ApiKey(
        key_id=key_id,
        name="shop",
        digest=b"\x00\xff" * 16,
        tenant="acme",
        kinds=("report",),
        actions=("read", "submit"),
        created_at=_AT,
        expires_at=_AT + timedelta(days=1),
    )
    return replace(key, **changes)  # type: ignore[arg-type]


class ServiceSuite:
    """Promises of `holdfast.store.service`."""

    async def test_key_comes_back_as_it_was_kept(self, lab: ServiceLab) -> None:
        records = (await lab.open()).service
        bare = api_key("hf_2", tenant=None, kinds=None, expires_at=None, created_at=_AT + timedelta(1))

        await records.insert_key(bare)
        await records.insert_key(api_key())

        assert await records.find_key("hf_1") == api_key()
        assert await records.find_key("hf_3") is None
        assert list(await records.list_keys()) == [api_key(), bare]

    async def test_key_id_is_taken_once(self, lab: ServiceLab) -> None:
        records = (await lab.open()).service
        await records.insert_key(api_key())

        with pytest.raises(InvalidInputError, match="hf_1"):
            await records.insert_key(api_key(name="other"))

        assert await records.find_key("hf_1") == api_key()

    async def test_revoked_key_stays_on_record_and_off_the_list(self, lab: ServiceLab) -> None:
        records = (await lab.open()).service
        await records.insert_key(api_key())

        assert await records.revoke_key("hf_1", _AT)
        assert not await records.revoke_key("hf_1", _AT + timedelta(1))
        assert not await records.revoke_key("hf_2", _AT)

        assert await records.find_key("hf_1") == api_key(revoked_at=_AT)
        assert list(await records.list_keys()) == []

    async def test_keys_in_force_are_bounded(
        self, lab: ServiceLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("holdfast.store.keys.KEYS_MAX", 2)
        assert service.KEYS_MAX == 1_000
        records = (await lab.open()).service
        await records.insert_key(api_key("hf_1"))
        await records.insert_key(api_key("hf_2"))

        with pytest.raises(InvalidInputError, match="more than 2 in force"):
            await records.insert_key(api_key("hf_3"))
        await records.revoke_key("hf_1", _AT)

        await records.insert_key(api_key("hf_3"))

    async def test_positions_tell_how_far_logs_go(self, lab: ServiceLab) -> None:
        store = await lab.open()
        store.beat(worker("w1"), first=True)
        done = (await finish(store, await start(store))).job_id
        waiting = await submit(store)
        many = [f"job_{number}" for number in range(1_200)]

        found = await store.service.find_positions([*many, waiting, done])

        assert {job_id: (at.event_seq, at.status) for job_id, at in found.items()} == {
            waiting: (1, JobStatus.QUEUED),
            done: (3, JobStatus.COMPLETED),
        }
        assert await store.service.find_positions([]) == {}

    async def test_jobs_are_listed_by_the_time_of_their_submission(self, lab: ServiceLab) -> None:
        store = await lab.open()
        ids = [await submit(store) for _ in range(3)]
        now = datetime.now(UTC)
        hour = timedelta(hours=1)

        def since(at: datetime) -> JobQuery:
            return JobQuery(created_since=at)

        def before(at: datetime) -> JobQuery:
            return JobQuery(created_before=at)

        assert [job.job_id for job in await store.list_jobs(since(now - hour))] == ids[::-1]
        assert list(await store.list_jobs(since(now + hour))) == []
        assert [job.job_id for job in await store.list_jobs(before(now + hour))] == ids[::-1]
        assert list(await store.list_jobs(before(now - hour))) == []

    async def test_trace_of_a_submission_is_kept(self, lab: ServiceLab) -> None:
        store = await lab.open()
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

        job_id = await submit(store, traceparent=trace)

        assert (await store.get_job(job_id)).traceparent == trace
