"""Two processes that write to the same keys and tenants never wait for each other in a circle."""

import asyncio
import random
from collections.abc import Sequence

import psycopg
import pytest

from holdfast.errors import StoreUnavailableError
from holdfast.model import Budget, BudgetPeriod, JobStatus
from holdfast.store import postgres_store
from holdfast.store.base import Claim, ClaimRequest
from holdfast.store.postgres_store import PostgresStore
from holdfast.testing.signals import eventually
from holdfast.testing.store_suite.support import (
    KIND,
    finish,
    ids_of,
    intent,
    job,
    seconds,
    settle,
    submit,
    worker,
)

pytestmark = [pytest.mark.requires("initdb", "postgres"), pytest.mark.timeout(100)]

WORKERS = ("w1", "w2")
BUDGET = Budget(tokens=1_000_000)
HOLD_TENANTS = "SELECT 1 FROM tenant_budgets FOR UPDATE"
WAITING = (
    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.fixture
async def stores(postgres_url):
    """Open one database as two processes would; `w1` works in the first, `w2` in the second."""
    opened = [PostgresStore(postgres_url) for _ in WORKERS]
    for store, worker_id in zip(opened, WORKERS, strict=True):
        await store.open()
        record = worker(worker_id, lease_seconds=600.0, slots=1_000)
        await asyncio.to_thread(store.beat, record, first=True)
    yield opened
    for store in opened:
        await store.close()


async def deadlocks(stores: Sequence[PostgresStore]) -> int:
    """Close the stores and return how many deadlocks the server has ended in their database.

    Sessions add theirs to the sum when they end.
    """
    for store in stores:
        await store.close()
    with psycopg.connect(stores[0].place.url, autocommit=True) as admin:

        def sessions() -> int:
            found = admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            return int((found.fetchone() or (1,))[0])

        await eventually(lambda: sessions() == 0)
        found = admin.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        return int((found.fetchone() or (-1,))[0])


async def take(store: PostgresStore, worker_id: str, limit: int) -> list[Claim]:
    request = ClaimRequest(worker_id=worker_id, kinds=(KIND,), limit=limit)
    return list(await store.claim_jobs(request))


async def test_jobs_of_two_keys_are_worked_off_without_deadlock(stores):
    """As the deliveries to two webhooks are: settled in batches, in whatever order they end."""
    draw = random.Random(7)
    left = {
        await submit(stores[0], concurrency_key=key, concurrency_limit=4)
        for _ in range(100)
        for key in ("webhook a", "webhook b")
    }

    async def work(store: PostgresStore, worker_id: str) -> None:
        while left:
            claims = await take(store, worker_id, 10)
            draw.shuffle(claims)
            left.difference_update(claim.job.job_id for claim in claims)
            await asyncio.gather(*(finish(store, claim.lease) for claim in claims))

    await asyncio.gather(*map(work, stores, WORKERS))

    assert await deadlocks(stores) == 0


HOLD_KEY = """
INSERT INTO jobs (job_id, kind, queue, status, priority, idempotency_key, created_at)
VALUES ('job_held', 'report', 'default', 'queued', 0, 'k', 1) RETURNING id
"""


async def test_key_that_a_transaction_holds_keeps_nobody_else_waiting(stores):
    """The submission waits for the key; all others of the process are written meanwhile."""
    with psycopg.connect(stores[0].place.url) as caller:
        row = caller.execute(HOLD_KEY).fetchone()
        caller.execute("INSERT INTO payloads (job, input) VALUES (%s, '1')", row)
        keyed = asyncio.create_task(
            stores[0].insert_job(job(idempotency_key="k", kind="report", input=b"1"))
        )
        with psycopg.connect(stores[0].place.url, autocommit=True) as admin:
            await eventually(lambda: bool(admin.execute(WAITING).fetchall()))

        for number in range(20):
            await submit(stores[0], idempotency_key=f"other {number}")
            await submit(stores[0])

        assert not keyed.done()
        caller.commit()
    found = await keyed
    assert (found.created, found.job.job_id) == (False, "job_held")


async def test_submission_gives_up_on_a_key_that_is_never_let_go(stores, monkeypatch):
    monkeypatch.setattr(postgres_store, "KEY_WAITS_SECONDS", (0.01,))
    with psycopg.connect(stores[0].place.url) as caller:
        caller.execute(HOLD_KEY)

        with pytest.raises(StoreUnavailableError, match="key 'k' is held by another transaction"):
            await submit(stores[0], idempotency_key="k")

        caller.rollback()
    assert (await stores[0].insert_job(job(idempotency_key="k"))).created


async def test_claim_passes_over_a_key_that_another_process_is_counting(stores):
    first, second = stores
    busy = [await submit(first, concurrency_key="busy", concurrency_limit=9) for _ in range(3)]
    free = await submit(first)
    with psycopg.connect(first.place.url) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('concurrency busy', 0))")

        taken = await take(second, "w2", 2)

    assert [claim.job.job_id for claim in taken] == [free]
    assert [claim.job.job_id for claim in await take(first, "w1", 9)] == busy


async def test_job_that_was_passed_over_is_announced_by_the_next_round_of_the_waker(stores):
    store, _ = stores
    job_id = await submit(store, concurrency_key="busy", concurrency_limit=9)
    before = await store.get_job(job_id)
    with psycopg.connect(store.place.url) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('concurrency busy', 0))")
        assert await take(store, "w1", 1) == []

    assert await store.get_job(job_id) == before
    woken = await store.wake_jobs(redispatch_after=seconds(600))
    assert ids_of(woken.dispatches) == (job_id,)


async def call_charged_to(tenant: str, store: PostgresStore) -> Claim:
    """Begin a call of a job whose tenant has a budget."""
    await store.service.set_tenant_budget(tenant, BudgetPeriod.DAY, BUDGET)
    await submit(store, tenant=tenant)
    [claim] = await take(store, "w1", 1)
    await store.reserve_call(claim.lease, intent())
    return claim


async def test_attempts_end_with_calls_under_way_while_their_tenants_budget_is_changed(stores):
    store, changer = stores
    claims = [await call_charged_to("acme", store) for _ in range(20)]

    async def hand_back() -> None:
        for claim in claims:
            await settle(store, claim.lease, JobStatus.QUEUED, counts=False)

    handed_back = asyncio.create_task(hand_back())
    while not handed_back.done():
        await changer.service.set_tenant_budget("acme", BudgetPeriod.DAY, BUDGET)
    await handed_back

    [found] = await store.service.list_tenant_budgets("acme")
    assert (found.reserved_tokens, found.used_tokens) == (0, 100 * len(claims))
    assert await deadlocks(stores) == 0


async def test_claim_passes_over_a_job_with_calls_of_a_tenant_that_another_process_holds(stores):
    store, _ = stores
    claim = await call_charged_to("acme", store)
    await store.rescue_jobs(["w1"])
    free = await submit(store)
    with psycopg.connect(store.place.url) as other:
        other.execute(HOLD_TENANTS)
        taken = await take(store, "w2", 2)

    assert [found.job.job_id for found in taken] == [free]
    assert [found.job.job_id for found in await take(store, "w2", 2)] == [claim.job.job_id]
    [budget] = await store.service.list_tenant_budgets("acme")
    assert (budget.reserved_tokens, budget.used_tokens) == (0, 100)


async def test_cancel_waits_for_the_tenant_before_it_locks_the_job(stores):
    store, _ = stores
    claim = await call_charged_to("acme", store)
    await store.rescue_jobs(["w1"])
    with (
        psycopg.connect(store.place.url) as other,
        psycopg.connect(store.place.url, autocommit=True) as admin,
    ):
        other.execute(HOLD_TENANTS)
        cancelled = asyncio.create_task(store.cancel_job(claim.job.job_id))
        await eventually(lambda: admin.execute(WAITING).fetchone() is not None)
        other.execute("SELECT 1 FROM jobs FOR UPDATE NOWAIT")

    assert (await cancelled).status is JobStatus.CANCELLED
