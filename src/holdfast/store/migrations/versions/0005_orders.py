"""What a shop keeps: orders, and what was told of their payments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the database forward."""
    _create_orders()
    op.create_table(
        "shop_payment_events",
        sa.Column("event_id", sa.Text(), primary_key=True),
        sa.Column("order_id", sa.Text()),
        sa.Column("news", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text()),
        sa.Column("payment_id", sa.Text()),
        sa.Column("paid_cents", sa.BigInteger()),
        sa.Column("refunded_cents", sa.BigInteger()),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
    )
    _create_index(
        "shop_payment_events_order", "shop_payment_events", "order_id", where="order_id IS NOT NULL"
    )
    _create_index(
        "shop_payment_events_unknown", "shop_payment_events", "taken_at", where="order_id IS NULL"
    )


def _create_orders() -> None:
    op.create_table(
        "shop_orders",
        sa.Column("order_id", sa.Text(), primary_key=True),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("payment", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text()),
        sa.Column("payment_id", sa.Text()),
        sa.Column("paid_cents", sa.BigInteger()),
        sa.Column("paid_at", sa.BigInteger()),
        sa.Column("refunded_cents", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("refunded_at", sa.BigInteger()),
        sa.Column("job_id", sa.Text()),
        sa.Column("outcome", sa.Text()),
        sa.Column("note", sa.LargeBinary()),
    )
    op.create_index("shop_orders_created", "shop_orders", ["created_at", "order_id"])
    op.create_index("shop_orders_subject", "shop_orders", ["subject", "created_at", "order_id"])
    op.create_index("shop_orders_product", "shop_orders", ["product", "created_at", "order_id"])
    op.create_index("shop_orders_status", "shop_orders", ["payment", "created_at", "order_id"])
    _create_index(
        "shop_orders_session", "shop_orders", "session_id", where="session_id IS NOT NULL", unique=True
    )
    _create_index("shop_orders_payment", "shop_orders", "payment_id", where="payment_id IS NOT NULL")
    _create_index("shop_orders_job", "shop_orders", "job_id", where="job_id IS NOT NULL")
    _create_index("shop_orders_unpaid", "shop_orders", "created_at", where="paid_at IS NULL")


def _create_index(name: str, table: str, column: str, *, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(
        name, table, [column], unique=unique, sqlite_where=condition, postgresql_where=condition
    )
