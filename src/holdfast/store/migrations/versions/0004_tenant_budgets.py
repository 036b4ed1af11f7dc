"""What a tenant may spend in a day and in a month, and which calls count towards it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_LIMITS = ("day_budget_tokens", "day_budget_nanos", "month_budget_tokens", "month_budget_nanos")
_SUMS = (
    "day_at", "day_tokens", "day_nanos", "month_at", "month_tokens", "month_nanos",
    "reserved_tokens", "reserved_nanos",
)  # fmt: skip


def upgrade() -> None:
    """Move the database forward."""
    zero = sa.text("0")
    op.create_table(
        "tenant_budgets",
        sa.Column("tenant", sa.Text(), primary_key=True),
        *(sa.Column(name, sa.BigInteger()) for name in _LIMITS),
        *(sa.Column(name, sa.BigInteger(), nullable=False, server_default=zero) for name in _SUMS),
    )
    op.add_column("calls", sa.Column("charged", sa.Integer(), nullable=False, server_default=zero))
