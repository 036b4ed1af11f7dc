"""Children, subjects, concurrency keys, and what pruning looks for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("subject", sa.Text()),
    ("parent", sa.BigInteger()),
    ("parent_id", sa.Text()),
    ("concurrency_key", sa.Text()),
    ("concurrency_limit", sa.Integer()),
)

_INDEXES = (
    ("jobs_parent", ("parent",), "parent IS NOT NULL"),
    (
        "jobs_concurrency",
        ("concurrency_key", "status"),
        "concurrency_key IS NOT NULL AND finished_at IS NULL",
    ),
    ("jobs_subject", ("subject", "job_id"), "subject IS NOT NULL"),
    ("jobs_finished", ("finished_at",), "finished_at IS NOT NULL AND parent IS NULL"),
    ("jobs_kind_finished", ("kind", "finished_at"), "finished_at IS NOT NULL AND parent IS NULL"),
)


def upgrade() -> None:
    """Move the database forward."""
    for name, kind in _COLUMNS:
        op.add_column("jobs", sa.Column(name, kind))
    for name in ("blocked", "each_child"):
        op.add_column("jobs", sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.drop_index("jobs_claimable", "jobs")
    _create_index(
        "jobs_claimable",
        (sa.text("priority DESC"), "available_at", "id", "queue", "kind"),
        "status = 'queued' AND blocked = 0",
    )
    for name, columns, condition in _INDEXES:
        _create_index(name, columns, condition)
    op.create_index("artifacts_sha256", "artifacts", ["sha256"])
    stored = sa.text("blob IS NOT NULL")
    op.create_index(
        "checkpoints_blob", "checkpoints", ["blob"], sqlite_where=stored, postgresql_where=stored
    )
    op.add_column("lanes", sa.Column("turns", sa.LargeBinary()))
    if op.get_bind().dialect.name == "postgresql":
        _tune()


def _tune() -> None:
    """Fit the tables of a server to how they are written."""
    # Each step changes its job's row and none of its indexed columns: with room on the page the
    # new version stays there, and no index has to be told.
    op.execute("ALTER TABLE jobs SET (fillfactor = 50)")
    # By default a table is only looked after once a fifth of it is dead, which for millions of
    # jobs never comes in time.
    for table in ("jobs", "lanes", "workers"):
        op.execute(
            f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.01,"
            " autovacuum_vacuum_threshold = 1000)"
        )
    for table in ("payloads", "checkpoints", "events", "calls"):
        op.execute(
            f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.05,"
            " autovacuum_vacuum_insert_scale_factor = 0.05)"
        )


def _create_index(name: str, columns: tuple[str | sa.TextClause, ...], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "jobs", list(columns), sqlite_where=where, postgresql_where=where)
