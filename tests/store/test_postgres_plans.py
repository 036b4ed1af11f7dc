"""No hot verb reads a big table from end to end, whatever else lies in it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import psycopg
import pytest

from holdfast.model import Budget, Checkpoint, JobStatus
from holdfast.store.base import ClaimRequest, JobQuery, LaneRequest, NewEvent, PruneRequest, Settlement
from holdfast.store.listing import statement_of
from holdfast.store.orders import OrderQuery, Payment
from holdfast.store.postgres_runner import PostgresRunner
from holdfast.store.postgres_store import PostgresStore
from holdfast.store.rows import moment
from holdfast.store.service import SpendGroup, SpendQuery, Webhook, WebhookSecrets
from holdfast.testing.store_suite.orders import order, paid, refunded, work
from holdfast.testing.store_suite.support import (
    KIND,
    claimed,
    intent,
    job,
    outcome,
    start,
    submit,
    worker,
)

pytestmark = [pytest.mark.requires("initdb", "postgres"), pytest.mark.timeout(180), pytest.mark.slow]

TERMINAL, QUEUED_ELSEWHERE, SUSPENDED, RUNNING = 60_000, 20_000, 2_000, 500

FILL = """
INSERT INTO jobs (job_id, kind, queue, status, priority, worker_id, created_at, available_at,
    announced_at, finished_at, suspend_reason, event_seq, epoch, subject, tenant)
SELECT 'job_0' || lpad(n::text, 25, '0'), CASE n %% 1000 WHEN 0 THEN 'rare' ELSE 'old' END,
    'elsewhere', %(status)s, 0, %(worker)s, n, n, n,
    CASE WHEN %(status)s = 'completed' THEN n END, %(reason)s, 3, 1,
    'subject-' || (n %% 1000), 'tenant-' || (n %% 3)
FROM generate_series(%(first)s, %(last)s) AS n
"""
FILL_ORDERS = """
INSERT INTO shop_orders (order_id, product, amount_cents, currency, subject, details, created_at,
    payment, session_id, payment_id, paid_at, job_id)
SELECT 'order_0' || lpad(n::text, 25, '0'), 'product-' || (n % 5), 1900, 'usd', 'customer-' || (n / 3),
    '{}', n, CASE WHEN n % 3 > 0 THEN 'paid' WHEN n % 2 > 0 THEN 'failed' ELSE 'processing' END,
    'cs_0' || n, 'pi_0' || n, CASE WHEN n % 3 > 0 THEN n END,
    CASE WHEN n % 3 > 0 THEN 'job_0' || lpad(n::text, 25, '0') END
FROM generate_series(1, 30000) AS n
"""
BIG = (
    "jobs",
    "payloads",
    "checkpoints",
    "events",
    "calls",
    "artifacts",
    "webhooks",
    "shop_orders",
    "shop_payment_events",
)


@pytest.fixture
def big(postgres_server):
    """A database that has been in use for a while."""
    url = postgres_server.create_database("plans")
    asyncio.run(_create(url))
    with psycopg.connect(url, autocommit=True) as admin:
        last = 0
        for status, count, worker_id, reason in (
            ("completed", TERMINAL, None, None),
            ("queued", QUEUED_ELSEWHERE, None, None),
            ("suspended", SUSPENDED, None, "signal"),
            ("running", RUNNING, "other", None),
        ):
            first, last = last + 1, last + count
            admin.execute(
                FILL,
                {"status": status, "worker": worker_id, "reason": reason, "first": first, "last": last},
            )
        admin.execute("UPDATE jobs SET available_at = NULL WHERE status = 'suspended'")
        admin.execute("INSERT INTO payloads (job, input) SELECT id, '1' FROM jobs")
        admin.execute(
            "INSERT INTO checkpoints (job, key, finished, seconds, attempts, number, starts)"
            " SELECT id, 'step', 1, 1, 1, 1, 0 FROM jobs"
        )
        admin.execute(
            "INSERT INTO events (job, seq, type, data, at)"
            " SELECT id, n, 'x', '{}', 1 FROM jobs, generate_series(1, 3) AS n"
        )
        admin.execute(
            "INSERT INTO calls (job, call_id, step_key, step_attempt, epoch, provider, model, status,"
            " reserved_tokens, started_at, ended_at)"
            " SELECT id, 'c', 'step', 1, 1, 'p', 'm', 'settled', 1, 1, id * 3600000000"
            " FROM jobs WHERE status <> 'queued'"
        )
        admin.execute(
            "INSERT INTO artifacts (job, name, step_key, sha256, size_bytes, media_type, created_at)"
            " SELECT id, 'a', 'step', md5(id::text), 1, 't', 1 FROM jobs WHERE status = 'completed'"
        )
        admin.execute(
            "INSERT INTO webhooks (webhook_id, tenant, url, secret, statuses, created_at)"
            " SELECT 'w' || n, 'tenant-' || (n / 50), 'u', '{}', '[]', 1"
            " FROM generate_series(1, 20000) AS n"
        )
        admin.execute(FILL_ORDERS)
        admin.execute(
            "INSERT INTO shop_payment_events (event_id, order_id, news, outcome, taken_at)"
            " SELECT 'evt_' || n, CASE WHEN n % 10 > 0 THEN 'order_0' || lpad(n::text, 25, '0') END,"
            " 'paid', 'applied', n FROM generate_series(1, 30000) AS n"
        )
        admin.execute("ANALYZE")
    yield url
    postgres_server.drop_database("plans")


async def _create(url: str) -> None:
    store = PostgresStore(url)
    await store.open()
    await store.close()


class Plans:
    """Explains every statement of a store before running it."""

    def __init__(self) -> None:
        self.scans: dict[str, set[str]] = {}
        """Statement to the big tables it reads from end to end."""
        self.seen = 0

    def watch(self, connection: psycopg.Connection) -> None:
        execute = connection.execute

        def explained(query, params=None, **options):
            if isinstance(query, str) and params and query.split()[0] in {
                "SELECT", "UPDATE", "INSERT", "DELETE", "WITH",
            }:  # fmt: skip
                row = execute(f"EXPLAIN (FORMAT JSON) {query}", params).fetchone()
                assert row is not None
                plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
                self.seen += 1
                found = set(scanned(plan[0]["Plan"]))
                if found:
                    self.scans.setdefault(" ".join(query.split()), set()).update(found)
            return execute(query, params, **options)

        setattr(connection, "execute", explained)  # noqa: B010 - a method, to the type checker


def scanned(plan):
    if plan["Node Type"] == "Seq Scan" and plan.get("Relation Name") in BIG:
        yield plan["Relation Name"]
    for child in plan.get("Plans", ()):
        yield from scanned(child)


async def test_no_hot_verb_scans_a_big_table(big):
    store = PostgresStore(big)
    await store.open()
    plans = Plans()
    for writer in store._writers:
        runner = writer.runner
        assert isinstance(runner, PostgresRunner)
        assert runner.connection is not None
        plans.watch(runner.connection)

    await all_verbs(store)

    await store.close()
    assert plans.seen > 50
    assert plans.scans == {}


def read(plan) -> int:
    """Return how many rows of jobs were read, those included that were not wanted."""
    rows = 0
    if plan.get("Relation Name") == "jobs":
        rows = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return rows + sum(read(child) for child in plan.get("Plans", ()))


def test_lists_of_rare_jobs_read_little_more_than_a_page(big):
    """However many jobs of the kind or the tenant are in another status, or of the status elsewhere."""
    asked: list[dict[str, Any]] = [
        {"kinds": ("rare", "none")},
        {"kinds": ("old", "rare"), "status": JobStatus.SUSPENDED},
        {"kind": "rare", "status": JobStatus.COMPLETED},
        {"kind": "old", "status": JobStatus.FAILED},
        {"tenant": "tenant-1", "status": JobStatus.SUSPENDED},
        {"tenant": "tenant-1", "status": JobStatus.FAILED},
        {"tenant": "nobody"},
    ]
    with psycopg.connect(big) as connection:
        for filters in asked:
            sql, arguments = statement_of(JobQuery(limit=20, **filters))
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {sql.replace('?', '%s')}"
            ((plans,),) = connection.execute(explain, arguments).fetchall()
            assert read(plans[0]["Plan"]) < 300, (filters, plans)


async def all_verbs(store: PostgresStore) -> None:
    await asyncio.to_thread(store.beat, worker("w1", lease_seconds=600.0), first=True)
    await asyncio.to_thread(store.beat, worker("w1", lease_seconds=600.0), first=False)
    lease = await start(store, budget=Budget(tokens=10_000), idempotency_key="a", tenant="t")
    await store.insert_job(job(idempotency_key="b", concurrency_key="k", concurrency_limit=1))
    await store.insert_job(job(job_id="job_child", parent=lease))
    await store.begin_step(lease, "a", None)
    await store.reserve_call(lease, intent())
    await store.settle_call(lease, intent().call_id, outcome())
    await store.put_checkpoint(lease, Checkpoint(key="a", value=b"1"), [NewEvent(type="x")])
    output = [NewEvent(type="output.completed", data=b'{"key":"b"}')]
    await store.put_checkpoint(lease, Checkpoint(key="b", value=b"1"), output)
    await store.append_events(lease, [NewEvent(type="x")])
    for request in (
        ClaimRequest(worker_id="w1", kinds=(KIND,), limit=10),
        ClaimRequest(worker_id="w1", kinds=(KIND,), queues=("default",), waited=timedelta(seconds=3)),
    ):
        for claim in await store.claim_jobs(request):
            await store.settle_attempt(
                claim.lease,
                Settlement(status=JobStatus.COMPLETED, output=b"1", step_seconds={"a": (1, 1.0)}),
            )
    child = await claimed(store, await submit(store))
    await store.settle_attempt(child.lease, Settlement(status=JobStatus.SUSPENDED))
    await store.signal_job(child.job.job_id, "go", b"1")
    await store.set_budget(child.job.job_id, Budget(tokens=5))
    await store.cancel_job(child.job.job_id)
    await store.retry_job(child.job.job_id)
    await store.fork_job(lease.job_id, job(), keep=None)
    await store.cancel_job(lease.job_id)
    await store.wake_jobs(redispatch_after=timedelta(seconds=10))
    await store.rescue_jobs()
    await store.take_lane(
        LaneRequest(lane="x", tokens=1, requests_per_minute=1, tokens_per_minute=1, burst_seconds=1)
    )
    await store.get_job(lease.job_id)
    await store.get_records(lease.job_id)
    await store.read_events(lease.job_id)
    await store.list_jobs(JobQuery())
    await store.list_jobs(JobQuery(status=JobStatus.QUEUED))
    await store.list_jobs(JobQuery(subject="subject-7"))
    await webhook_verbs(store)
    await order_verbs(store)
    await store.prune_jobs(PruneRequest(older_than=timedelta(days=1), limit=50))
    await store.prune_jobs(PruneRequest(kind="old", older_than=timedelta(days=1), limit=50))
    await store.prune_jobs(PruneRequest(subject="subject-7", files=("0" * 64,)))
    for at in (moment(0), moment(10**12)):
        await store.service.list_queues(at)
        for group in get_args(SpendGroup):
            await store.service.sum_spend(
                SpendQuery(since=at, until=at + timedelta(days=1), slot=timedelta(hours=1), group=group)
            )
    await store.list_jobs(JobQuery(status=JobStatus.FAILED, content=False))
    await store.release_worker("w1")


async def webhook_verbs(store: PostgresStore) -> None:
    """End jobs with somebody to hear of it, beside thousands who do not want to."""
    records = store.service
    found = Webhook(
        webhook_id="wh_plans",
        tenant="t",
        url="https://shop.example",
        kinds=None,
        statuses=(JobStatus.COMPLETED, JobStatus.CANCELLED),
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
    )
    await records.insert_webhook(found, WebhookSecrets(secret="whsec_AAAA"))
    lease = await start(store, tenant="t")
    await store.settle_attempt(lease, Settlement(status=JobStatus.COMPLETED, output=b"1"))
    await store.cancel_job(await submit(store, tenant="t"))
    assert len(await records.list_deliveries(found.webhook_id)) == 2
    await records.list_deliveries(found.webhook_id, before="job_1")
    await records.list_webhooks(tenant="t")
    await records.delete_webhook(found.webhook_id)


async def order_verbs(store: PostgresStore) -> None:
    """Sell one more report, after ten thousands of them."""
    orders = store.orders
    await orders.insert_order(order(), unpaid_for=timedelta(days=3))
    await orders.insert_order(order(), unpaid_for=timedelta(days=3))
    await orders.set_session("order_1", "cs_1")
    for news in (paid(), paid(), paid(order_id=None), refunded(5), refunded(), paid("evt_x", number=2)):
        await orders.take_payment(news, work())
    await orders.find_order_of(session_id="cs_1")
    await orders.find_order_of(payment_id="pi_1")
    for changes in (
        {}, {"before": "order_1"}, {"subject": "customer-7"}, {"product": "product-2"},
        {"payment": Payment.FAILED}, {"payment": Payment.PAID, "product": "product-2"},
    ):  # fmt: skip
        assert await orders.list_orders(OrderQuery(**changes))
    await orders.set_note("order_1", "x")
    await orders.set_outcome("order_1", "failed")
    assert await orders.erase_orders("customer-7")
