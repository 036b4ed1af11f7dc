"""What the HTTP service needs: keys, webhooks, traces, and indexes for lists and sums."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the database forward."""
    op.add_column("jobs", sa.Column("traceparent", sa.Text()))
    _create_index("jobs_tenant", "jobs", ("tenant", "job_id"), "tenant IS NOT NULL")
    op.create_index("jobs_kind", "jobs", ["kind", "job_id"])
    _create_index("calls_ended", "calls", ("ended_at",), "ended_at IS NOT NULL")
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
    _create_index("jobs_deliveries", "jobs", ("concurrency_key", "job_id"), "kind = 'holdfast.webhook'")


def _create_index(name: str, table: str, columns: tuple[str, ...], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, list(columns), sqlite_where=where, postgresql_where=where)
