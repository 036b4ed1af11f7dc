"""Webhooks: who is kept, who hears of which end, and that it is told in the ending's transaction."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from holdfast.errors import IdempotencyConflictError, InvalidInputError, LeaseLost
from holdfast.ids import new_id, new_webhook_secret
from holdfast.model import JobStatus
from holdfast.store import hints
from holdfast.store.base import ClaimRequest, JobQuery, NewJob, Store
from holdfast.store.service import (
    DELIVERIES_AT_ONCE,
    DELIVERY_KIND,
    WEBHOOKS_MAX,
    DeliveryInput,
    ServiceStore,
    Webhook,
    WebhookSecrets,
)
from holdfast.testing.store_suite.support import (
    KIND,
    UNDO,
    StoreFixtures,
    StoreLab,
    claimed,
    event_types,
    finish,
    ids_of,
    put,
    seconds,
    settle,
    start,
    submit,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model import Job
    from holdfast.testing.clock import ManualClock

ENDS = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
SECRETS = WebhookSecrets(secret=new_webhook_secret())


def webhook(lab: StoreLab, **changes: object) -> Webhook:
    """Return a webhook that hears of every end of every job."""
    fields: dict[str, object] = {
        "webhook_id": new_id("wh"),
        "tenant": None,
        "url": "https://shop.example/hooks",
        "kinds": None,
        "statuses": ENDS,
        "created_at": lab.clock.now(),
    }
    return Webhook(**(fields | changes))  # type: ignore[arg-type]


async def deliveries(store: Store) -> Sequence[Job]:
    """Return all deliveries there are."""
    return await store.list_jobs(JobQuery(kind=DELIVERY_KIND, limit=1_000))


async def told(store: Store) -> list[tuple[str, str, int, str]]:
    """Return webhook, job, event number and type of every delivery."""
    decode = msgspec.json.Decoder(DeliveryInput).decode
    found = [decode(each.input) for each in await deliveries(store)]
    return sorted((each.webhook_id, each.job_id, each.seq, each.type) for each in found)


class WebhookSuite(StoreFixtures):
    """Webhooks and the deliveries that the ends of jobs queue."""

    @pytest.fixture
    def records(self, lab: StoreLab, store: Store) -> ServiceStore:
        """Give what the service keeps in the same database."""
        return lab.records_of(store)

    # kept ----------------------------------------------------------------------------------------

    async def test_webhook_is_found_as_it_was_given(self, records: ServiceStore, lab: StoreLab) -> None:
        all_of_it = webhook(lab, tenant="t", kinds=("a", "b"), statuses=(JobStatus.FAILED,))
        plain = webhook(lab)
        for each in (all_of_it, plain):
            await records.insert_webhook(each, SECRETS)

        assert await records.find_webhook(all_of_it.webhook_id) == all_of_it
        assert await records.find_webhook(plain.webhook_id) == plain
        assert await records.find_webhook("wh_unknown") is None

    async def test_webhook_id_is_taken_once(self, records: ServiceStore, lab: StoreLab) -> None:
        found = webhook(lab)
        await records.insert_webhook(found, SECRETS)

        with pytest.raises(InvalidInputError, match="taken"):
            await records.insert_webhook(found, SECRETS)

    async def test_webhooks_are_listed_by_tenant_and_page(
        self, records: ServiceStore, lab: StoreLab
    ) -> None:
        for name in "dabc":
            tenant = "t" if name in "ab" else None
            await records.insert_webhook(webhook(lab, webhook_id=f"wh_{name}", tenant=tenant), SECRETS)

        async def listed(**options: object) -> list[str]:
            found = await records.list_webhooks(**options)  # type: ignore[arg-type]
            return [each.webhook_id for each in found]

        assert await listed() == ["wh_a", "wh_b", "wh_c", "wh_d"]
        assert await listed(tenant="t") == ["wh_a", "wh_b"]
        assert await listed(after="wh_a", limit=2) == ["wh_b", "wh_c"]
        with pytest.raises(InvalidInputError):
            await listed(limit=1_001)

    async def test_tenant_has_so_many_webhooks_and_no_more(
        self, records: ServiceStore, lab: StoreLab
    ) -> None:
        for _ in range(WEBHOOKS_MAX):
            await records.insert_webhook(webhook(lab, tenant="t"), SECRETS)

        with pytest.raises(InvalidInputError, match="more than 100"):
            await records.insert_webhook(webhook(lab, tenant="t"), SECRETS)
        await records.insert_webhook(webhook(lab, tenant="other"), SECRETS)
        await records.insert_webhook(webhook(lab), SECRETS)

    async def test_secrets_are_given_only_when_asked_for_and_can_be_replaced(
        self, records: ServiceStore, lab: StoreLab
    ) -> None:
        found = webhook(lab)
        await records.insert_webhook(found, SECRETS)
        assert await records.find_webhook_secrets(found.webhook_id) == SECRETS
        until = lab.clock.now() + timedelta(days=1)
        rotated = WebhookSecrets(secret=new_webhook_secret(), old=SECRETS.secret, old_until=until)

        assert await records.set_webhook_secrets(found.webhook_id, rotated)

        assert await records.find_webhook_secrets(found.webhook_id) == rotated
        assert SECRETS.secret not in repr(await records.list_webhooks())
        assert not await records.set_webhook_secrets("wh_unknown", rotated)
        assert await records.find_webhook_secrets("wh_unknown") is None

    async def test_deleted_webhook_is_gone_and_hears_of_nothing(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        found = webhook(lab)
        await records.insert_webhook(found, SECRETS)

        assert await records.delete_webhook(found.webhook_id)

        assert not await records.delete_webhook(found.webhook_id)
        assert await records.find_webhook(found.webhook_id) is None
        await finish(store, await start(store))
        assert await told(store) == []

    # told ----------------------------------------------------------------------------------------

    async def test_end_of_a_job_queues_a_delivery_that_nobody_has_announced(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        found = webhook(lab)
        await records.insert_webhook(found, SECRETS)
        lease = await start(store, tenant="t")
        with (
            store.hints.subscribe(hints.QUEUED) as queued,
            store.hints.subscribe(hints.UNANNOUNCED) as unannounced,
        ):
            ended = await finish(store, lease)
            assert queued.is_set()
            assert unannounced.is_set()

        [delivery] = await deliveries(store)

        assert await told(store) == [(found.webhook_id, lease.job_id, ended.event_seq, "job.completed")]
        assert (delivery.queue, delivery.status, delivery.tenant) == (
            DELIVERY_KIND,
            JobStatus.QUEUED,
            None,
        )
        assert await event_types(store, delivery.job_id) == ["job.queued"]
        wakeup = await store.wake_jobs(redispatch_after=seconds(10))
        assert ids_of(wakeup.dispatches) == (delivery.job_id,)

    @pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
    async def test_bad_ends_are_told_as_such(
        self, records: ServiceStore, store: Store, lab: StoreLab, status: JobStatus
    ) -> None:
        found = webhook(lab)
        await records.insert_webhook(found, SECRETS)
        lease = await start(store)

        ended = await settle(store, lease, status)

        expected = (found.webhook_id, lease.job_id, ended.event_seq, f"job.{status}")
        assert await told(store) == [expected]

    async def test_cancelled_job_that_no_worker_has_is_told(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        found = webhook(lab)
        await records.insert_webhook(found, SECRETS)
        queued = await store.cancel_job(await submit(store))
        lease = await start(store)
        await settle(store, lease, JobStatus.SUSPENDED)
        suspended = await store.cancel_job(lease.job_id)

        expected = [
            (found.webhook_id, each.job_id, each.event_seq, "job.cancelled")
            for each in (queued, suspended)
        ]
        assert await told(store) == sorted(expected)

    async def test_cancelled_job_is_told_once_it_was_taken_back(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        await records.insert_webhook(webhook(lab), SECRETS)
        lease = await start(store)
        await store.begin_step(lease, "pay", UNDO)
        await put(store, lease, "pay", undo=UNDO)
        await settle(store, lease, JobStatus.SUSPENDED)
        await store.cancel_job(lease.job_id)
        assert await told(store) == []

        await settle(store, (await claimed(store, lease.job_id)).lease, JobStatus.CANCELLED)

        assert len(await told(store)) == 1

    async def test_children_that_end_with_their_parent_are_told(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        await records.insert_webhook(webhook(lab), SECRETS)
        parent = await start(store)
        child_id = await submit(store, parent=parent)

        await settle(store, parent, JobStatus.FAILED)

        types = {(job_id, kind) for _, job_id, _, kind in await told(store)}
        assert types == {(parent.job_id, "job.failed"), (child_id, "job.cancelled")}

    async def test_attempts_that_do_not_end_the_job_tell_nothing(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        await records.insert_webhook(webhook(lab), SECRETS)
        lease = await start(store)
        await settle(store, lease, JobStatus.QUEUED)
        lease = (await claimed(store, lease.job_id)).lease
        await settle(store, lease, JobStatus.SUSPENDED)

        assert await told(store) == []

    async def test_each_webhook_hears_of_its_tenant_kinds_and_statuses_only(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        wanted = [
            webhook(lab, webhook_id="wh_all"),
            webhook(lab, webhook_id="wh_tenant", tenant="t"),
            webhook(lab, webhook_id="wh_kind", kinds=("other", KIND)),
            webhook(lab, webhook_id="wh_status", statuses=(JobStatus.COMPLETED,)),
        ]
        unwanted = [
            webhook(lab, webhook_id="wh_a", tenant="u"),
            webhook(lab, webhook_id="wh_b", kinds=("other",)),
            webhook(lab, webhook_id="wh_c", statuses=(JobStatus.FAILED, JobStatus.CANCELLED)),
        ]
        for each in (*wanted, *unwanted):
            await records.insert_webhook(each, SECRETS)

        await finish(store, await start(store, tenant="t"))

        assert {each[0] for each in await told(store)} == {each.webhook_id for each in wanted}
        owners = {each.tenant for each in await deliveries(store)}
        assert owners == {None, "t"}

    async def test_job_of_no_tenant_is_told_to_webhooks_of_all_tenants_only(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        await records.insert_webhook(webhook(lab, tenant="t"), SECRETS)
        await finish(store, await start(store))
        assert await told(store) == []

        await records.insert_webhook(webhook(lab, webhook_id="wh_all"), SECRETS)
        await finish(store, await start(store))
        assert [each[0] for each in await told(store)] == ["wh_all"]

    async def test_job_that_is_retried_and_ends_again_is_told_again(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        await records.insert_webhook(webhook(lab), SECRETS)
        lease = await start(store)
        first = await settle(store, lease, JobStatus.FAILED)
        await store.retry_job(lease.job_id)

        second = await finish(store, (await claimed(store, lease.job_id)).lease)

        assert [(seq, kind) for _, _, seq, kind in await told(store)] == [
            (first.event_seq, "job.failed"),
            (second.event_seq, "job.completed"),
        ]

    async def test_end_is_told_once_however_often_it_is_settled(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        await records.insert_webhook(webhook(lab), SECRETS)
        lease = await start(store)
        await finish(store, lease)

        with pytest.raises(LeaseLost):
            await finish(store, lease)

        assert len(await told(store)) == 1

    async def test_ends_of_deliveries_are_not_told(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        await records.insert_webhook(webhook(lab), SECRETS)
        await finish(store, await start(store))
        [claim] = await store.claim_jobs(ClaimRequest(worker_id="w1", kinds=(DELIVERY_KIND,)))

        await finish(store, claim.lease)

        [delivery] = await deliveries(store)
        assert delivery.status is JobStatus.COMPLETED

    async def test_only_so_many_deliveries_of_a_tenant_run_at_once(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        """However many webhooks it has; those of others are not in its line."""
        half = DELIVERIES_AT_ONCE // 2 + 1
        for tenant in ("acme", "acme", None):
            await records.insert_webhook(webhook(lab, tenant=tenant), SECRETS)
        for _ in range(half):
            await finish(store, await start(store, tenant="acme"))
        request = ClaimRequest(worker_id="w1", kinds=(DELIVERY_KIND,), limit=100)

        claims = await store.claim_jobs(request)

        tenants = [claim.job.tenant for claim in claims]
        assert tenants.count("acme") == DELIVERIES_AT_ONCE
        assert tenants.count(None) == half

    async def test_next_delivery_of_a_tenant_runs_once_one_has_ended(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        await records.insert_webhook(webhook(lab), SECRETS)
        for _ in range(DELIVERIES_AT_ONCE + 2):
            await finish(store, await start(store))
        request = ClaimRequest(worker_id="w1", kinds=(DELIVERY_KIND,), limit=100)

        claims = await store.claim_jobs(request)
        assert len(claims) == DELIVERIES_AT_ONCE
        assert await store.claim_jobs(request) == []

        await finish(store, claims[0].lease)
        assert len(await store.claim_jobs(request)) == 1

    async def test_many_jobs_end_at_once_and_all_are_told(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        other = await lab.open()
        for _ in range(3):
            await records.insert_webhook(webhook(lab), SECRETS)
        leases = [await start(store) for _ in range(20)]
        queued = [await submit(store) for _ in range(20)]

        await asyncio.gather(
            *(finish(at, lease) for at, lease in zip((store, other) * 10, leases, strict=True)),
            *(at.cancel_job(job_id) for at, job_id in zip((store, other) * 10, queued, strict=True)),
        )

        found = await told(store)
        assert len(found) == len(set(found)) == 3 * 40

    # looked at -----------------------------------------------------------------------------------

    async def test_lists_leave_deliveries_out_unless_asked_for(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        await records.insert_webhook(webhook(lab), SECRETS)
        lease = await start(store)
        await finish(store, lease)

        found = await store.list_jobs(JobQuery())
        queued = await store.list_jobs(JobQuery(status=JobStatus.QUEUED))

        assert [each.job_id for each in found] == [lease.job_id]
        assert queued == []
        assert len(await store.list_jobs(JobQuery(kind=DELIVERY_KIND))) == 1

    async def test_deliveries_of_a_webhook_are_listed_newest_first(
        self, records: ServiceStore, store: Store, lab: StoreLab, clock: ManualClock
    ) -> None:
        mine, other = webhook(lab), webhook(lab)
        for each in (mine, other):
            await records.insert_webhook(each, SECRETS)
        for number in range(3):
            await finish(store, await start(store, job_id=f"job_{number:026}"))
            clock.advance(1)

        found = await records.list_deliveries(mine.webhook_id, limit=2)
        rest = await records.list_deliveries(mine.webhook_id, before=found[-1].job_id)

        ids = [each.job_id for each in (*found, *rest)]
        assert ids == sorted(ids, reverse=True)
        assert len(ids) == 3
        assert {each.webhook_id for each in map(_input_of, (*found, *rest))} == {mine.webhook_id}
        with pytest.raises(InvalidInputError):
            await records.list_deliveries(mine.webhook_id, limit=0)

    async def test_copy_of_a_delivery_is_listed_with_it(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        mine = webhook(lab)
        await records.insert_webhook(mine, SECRETS)
        await finish(store, await start(store))
        [delivery] = await deliveries(store)
        copy = NewJob(
            job_id=new_id("job"),
            kind=DELIVERY_KIND,
            queue=DELIVERY_KIND,
            input=delivery.input,
            concurrency_key=delivery.concurrency_key,
            concurrency_limit=DELIVERIES_AT_ONCE,
        )

        await store.fork_job(delivery.job_id, copy, keep=())

        assert len(await records.list_deliveries(mine.webhook_id)) == 2

    async def test_delivery_id_is_taken_by_nobody_else(
        self, records: ServiceStore, store: Store, lab: StoreLab
    ) -> None:
        await records.insert_webhook(webhook(lab), SECRETS)
        await finish(store, await start(store))
        [delivery] = await deliveries(store)

        with pytest.raises(IdempotencyConflictError):
            await submit(store, job_id=delivery.job_id)


def _input_of(delivery: Job) -> DeliveryInput:
    return msgspec.json.decode(delivery.input, type=DeliveryInput)
