"""What the HTTP service needs: keys, webhooks, traces, and indexes for lists and sums."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from holdfast.store.versions import NewIndex, create_indexes

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = (
    NewIndex("jobs_tenant", "jobs", ("tenant", "job_id"), "tenant IS NOT NULL"),
    NewIndex("jobs_kind", "jobs", ("kind", "job_id")),
    NewIndex("calls_ended", "calls", ("ended_at",), "ended_at IS NOT NULL"),
    NewIndex("jobs_deliveries", "jobs", ("concurrency_key", "job_id"), "kind = 'holdfast.webhook'"),
)


def upgrade() -> None:
    """Move the database forward."""
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("tenant", sa.Text()),
        sa.Column("kinds", sa.LargeBinary()),
        sa.Column("actions", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("revoked_at", sa.BigInteger()),
    )
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", sa.Text(), primary_key=True),
        sa.Column("tenant", sa.Text()),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("kinds", sa.LargeBinary()),
        sa.Column("statuses", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("webhooks_tenant", "webhooks", ["tenant", "webhook_id"])
    create_indexes(INDEXES)
    # Last: its lock on the jobs stays until the commit.
    op.add_column("jobs", sa.Column("traceparent", sa.Text()))
