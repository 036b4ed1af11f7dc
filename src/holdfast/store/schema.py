"""The tables: what the migrations must arrive at, checked by a test.

Jobs are referred to by the integer `jobs.id`: half the bytes of every index and nearly twice
the rows a second of a textual key. Inputs and outputs have a table of their own, because every
event rewrites the job's row.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

# SQLite numbers rows by itself only where the type is exactly INTEGER; it holds 64 bits there.
_Id = BigInteger().with_variant(Integer(), "sqlite")


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


jobs = Table(
    "jobs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("job_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("suspend_reason", Text),
    Column("priority", Integer, nullable=False),
    Column("tenant", Text),
    Column("subject", Text),
    Column("idempotency_key", Text),
    Column("parent", BigInteger),
    Column("parent_id", Text),
    Column("concurrency_key", Text),
    Column("concurrency_limit", Integer),
    # Passed over by a claim because its concurrency key was full; cleared when one of them ends.
    Column("blocked", Integer, nullable=False, server_default=text("0")),
    # While suspended: whether each child that ends wakes it, or only the last and those that fail.
    Column("each_child", Integer, nullable=False, server_default=text("0")),
    _count("attempt"),
    _count("epoch"),
    _count("lost_workers"),
    Column("worker_id", Text),
    _count("event_seq"),
    _count("claim_seq"),  # number of the last attempt.started
    _count("cancel_seq"),  # number of the last job.cancel_requested
    _count("wake_seq"),  # number of the last event that wakes: signal, raised budget, cancel request
    _count("step_number"),  # last number given to a checkpoint
    Column("budget_nanos", BigInteger),
    Column("budget_tokens", BigInteger),
    _count("calls"),
    _count("input_tokens"),
    _count("cached_tokens"),
    _count("output_tokens"),
    _count("spent_nanos"),
    _count("unpriced_calls"),
    _count("uncertain_calls"),
    _count("uncertain_tokens"),
    _count("uncertain_nanos"),
    _count("reserved_calls"),
    _count("reserved_tokens"),
    _count("reserved_nanos"),
    Column("progress", LargeBinary),
    Column("cancel_requested_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("available_at", BigInteger),
    # When the job was queued or last announced; 0 while nobody can have been told of it,
    # because it was queued with a delay.
    _count("announced_at"),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("active_seconds", Float, nullable=False, server_default=text("0")),
    Column("traceparent", Text),
    UniqueConstraint("job_id"),
    # Never reused, so that a lease of a pruned job cannot fit a later one.
    sqlite_autoincrement=True,
)

_CLAIMABLE = text("status = 'queued' AND blocked = 0")
_QUEUED = text("status = 'queued'")
_SUSPENDED = text("status = 'suspended'")
_RUNNING = text("worker_id IS NOT NULL")
_CHILD = text("parent IS NOT NULL")
_CONCURRENT = text("concurrency_key IS NOT NULL AND finished_at IS NULL")
_SUBJECT = text("subject IS NOT NULL")
# Children are pruned after their parent, and are not in the way of others until then.
_FINISHED = text("finished_at IS NOT NULL AND parent IS NULL")
_BLOB = text("blob IS NOT NULL")
_KEYED = text("idempotency_key IS NOT NULL AND tenant IS NOT NULL")
_KEYED_ALONE = text("idempotency_key IS NOT NULL AND tenant IS NULL")
_OWNED = text("tenant IS NOT NULL")
_ENDED = text("ended_at IS NOT NULL")

# Queue and kind lie in the index so that a long backlog of other queues is passed over without
# reading its rows.
Index(
    "jobs_claimable",
    jobs.c.priority.desc(),
    jobs.c.available_at,
    jobs.c.id,
    jobs.c.queue,
    jobs.c.kind,
    sqlite_where=_CLAIMABLE,
    postgresql_where=_CLAIMABLE,
)
Index(
    "jobs_announced",
    jobs.c.announced_at,
    jobs.c.available_at,
    sqlite_where=_QUEUED,
    postgresql_where=_QUEUED,
)
Index("jobs_due", jobs.c.available_at, sqlite_where=_SUSPENDED, postgresql_where=_SUSPENDED)
Index("jobs_worker", jobs.c.worker_id, sqlite_where=_RUNNING, postgresql_where=_RUNNING)
Index("jobs_status", jobs.c.status, jobs.c.job_id)
Index(
    "jobs_idempotency",
    jobs.c.tenant,
    jobs.c.idempotency_key,
    unique=True,
    sqlite_where=_KEYED,
    postgresql_where=_KEYED,
)
# A second one, because NULL tenants would count as different ones.
Index(
    "jobs_idempotency_alone",
    jobs.c.idempotency_key,
    unique=True,
    sqlite_where=_KEYED_ALONE,
    postgresql_where=_KEYED_ALONE,
)

Index("jobs_parent", jobs.c.parent, sqlite_where=_CHILD, postgresql_where=_CHILD)
# Of the jobs of one key: how many run, which are not blocked, and the lines of those that are.
Index(
    "jobs_concurrency_line",
    jobs.c.concurrency_key,
    jobs.c.status,
    jobs.c.blocked,
    jobs.c.queue,
    jobs.c.kind,
    jobs.c.concurrency_limit,
    jobs.c.priority.desc(),
    jobs.c.available_at,
    jobs.c.id,
    sqlite_where=_CONCURRENT,
    postgresql_where=_CONCURRENT,
)
Index(
    "jobs_subject",
    jobs.c.subject,
    jobs.c.job_id,
    sqlite_where=_SUBJECT,
    postgresql_where=_SUBJECT,
)
# Lists of one tenant's or one kind's jobs, newest first: see `listing`.
Index(
    "jobs_tenant_status",
    jobs.c.tenant,
    jobs.c.status,
    jobs.c.job_id,
    sqlite_where=_OWNED,
    postgresql_where=_OWNED,
)
Index("jobs_kind_status", jobs.c.kind, jobs.c.status, jobs.c.job_id)
Index("jobs_finished", jobs.c.finished_at, sqlite_where=_FINISHED, postgresql_where=_FINISHED)
Index(
    "jobs_kind_finished",
    jobs.c.kind,
    jobs.c.finished_at,
    sqlite_where=_FINISHED,
    postgresql_where=_FINISHED,
)

payloads = Table(
    "payloads",
    metadata,
    Column("job", _Id, primary_key=True, autoincrement=False),
    Column("input", LargeBinary, nullable=False),
    Column("output", LargeBinary),
    Column("error", LargeBinary),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("job", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("finished", Integer, nullable=False),
    Column("value", LargeBinary),
    Column("blob", Text),
    Column("type_name", Text),
    Column("undo_function", Text),
    Column("undo_arguments", LargeBinary),
    Column("seconds", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("starts", Integer, nullable=False),
    Column("finished_at", BigInteger),
    Column("artifact", LargeBinary),
    UniqueConstraint("job", "key"),
)
Index("checkpoints_blob", checkpoints.c.blob, sqlite_where=_BLOB, postgresql_where=_BLOB)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("job", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("step_key", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("job", "name"),
)
Index("artifacts_sha256", artifacts.c.sha256)

events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("job", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    UniqueConstraint("job", "seq"),
)
_SIGNALS = text("type = 'signal.received'")
Index("events_signals", events.c.job, events.c.seq, sqlite_where=_SIGNALS, postgresql_where=_SIGNALS)

calls = Table(
    "calls",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("job", BigInteger, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("step_key", Text, nullable=False),
    Column("step_attempt", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reserved_tokens", BigInteger, nullable=False),
    Column("reserved_nanos", BigInteger),
    _count("input_tokens"),
    _count("cached_tokens"),
    _count("output_tokens"),
    Column("nanos", BigInteger),
    Column("response_id", Text),
    Column("error_code", Text),
    # Whether it counts towards the budgets of its tenant.
    Column("charged", Integer, nullable=False, server_default=text("0")),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    UniqueConstraint("job", "call_id"),
)
# What was spent between two moments.
Index("calls_ended", calls.c.ended_at, sqlite_where=_ENDED, postgresql_where=_ENDED)

tenant_budgets = Table(
    "tenant_budgets",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("day_budget_tokens", BigInteger),
    Column("day_budget_nanos", BigInteger),
    Column("month_budget_tokens", BigInteger),
    Column("month_budget_nanos", BigInteger),
    # When the period began that the sums are of.
    _count("day_at"),
    _count("day_tokens"),
    _count("day_nanos"),
    _count("month_at"),
    _count("month_tokens"),
    _count("month_nanos"),
    # By calls under way, whenever they began.
    _count("reserved_tokens"),
    _count("reserved_nanos"),
)

step_history = Table(
    "step_history",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("step_group", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("worker_id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queues", LargeBinary),
    Column("slots", Integer, nullable=False),
    Column("running", Integer, nullable=False),
    Column("lease_seconds", Float, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

lanes = Table(
    "lanes",
    metadata,
    Column("lane", Text, primary_key=True),
    Column("requests_level", Float, nullable=False),
    Column("tokens_level", Float, nullable=False),
    Column("requests_per_minute", Float, nullable=False),
    Column("tokens_per_minute", Float, nullable=False),
    Column("burst_seconds", Float, nullable=False),
    Column("rate_factor", Float, nullable=False),
    Column("factor_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("paused_until", BigInteger),
    Column("held_until", BigInteger),
    Column("held_reason", Text),
    Column("turns", LargeBinary),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("tenant", Text),
    Column("kinds", LargeBinary),
    Column("actions", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("webhook_id", Text, primary_key=True),
    Column("tenant", Text),
    Column("url", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("kinds", LargeBinary),
    Column("statuses", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
# Who hears of the end of a tenant's job: asked whenever one ends.
Index("webhooks_tenant", webhooks.c.tenant, webhooks.c.webhook_id)

orders = Table(
    "shop_orders",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("product", Text, nullable=False),
    Column("amount_cents", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("payment", Text, nullable=False),
    Column("session_id", Text),
    Column("payment_id", Text),
    Column("paid_cents", BigInteger),
    Column("paid_at", BigInteger),
    _count("refunded_cents"),
    Column("refunded_at", BigInteger),
    # By name, for it may outlive the job.
    Column("job_id", Text),
    Column("outcome", Text),
    Column("note", LargeBinary),
)


def _where_known(name: str, column: Column[str], *, unique: bool = False) -> None:
    known = text(f"{column.name} IS NOT NULL")
    Index(name, column, unique=unique, sqlite_where=known, postgresql_where=known)


# Lists, newest first.
Index("shop_orders_created", orders.c.created_at, orders.c.order_id)
Index("shop_orders_subject", orders.c.subject, orders.c.created_at, orders.c.order_id)
Index("shop_orders_product", orders.c.product, orders.c.created_at, orders.c.order_id)
Index("shop_orders_status", orders.c.payment, orders.c.created_at, orders.c.order_id)
_where_known("shop_orders_session", orders.c.session_id, unique=True)
_where_known("shop_orders_payment", orders.c.payment_id)
_where_known("shop_orders_job", orders.c.job_id)
_UNPAID = text("paid_at IS NULL")
Index("shop_orders_unpaid", orders.c.created_at, sqlite_where=_UNPAID, postgresql_where=_UNPAID)

shop_payment_events = Table(
    "shop_payment_events",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("order_id", Text),
    Column("news", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("session_id", Text),
    Column("payment_id", Text),
    Column("paid_cents", BigInteger),
    Column("refunded_cents", BigInteger),
    Column("taken_at", BigInteger, nullable=False),
)
_where_known("shop_payment_events_order", shop_payment_events.c.order_id)
_UNKNOWN = text("order_id IS NULL")
Index(
    "shop_payment_events_unknown",
    shop_payment_events.c.taken_at,
    sqlite_where=_UNKNOWN,
    postgresql_where=_UNKNOWN,
)
