"""Statements on orders and on what was told of their payments."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.errors import (
    IdempotencyConflictError,
    InvalidInputError,
    OrderNotFoundError,
    SealedValueError,
)
from holdfast.store.orders import ORDERS_MAX, SWEPT_MAX, Order, Payment
from holdfast.store.rows import encode_json, micros, optional_moment, span_micros

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from holdfast.store.orders import OrderQuery
    from holdfast.store.rows import Row
    from holdfast.store.sealed_values import Sealer
    from holdfast.store.transaction import Connection, Dialect, Transaction

_FACTS = (
    "payment", "session_id", "payment_id", "paid_cents", "paid_at", "refunded_cents", "refunded_at",
    "job_id",
)  # fmt: skip
_COLUMNS = (
    "order_id", "product", "amount_cents", "currency", "subject", "details", "created_at", *_FACTS,
    "outcome", "note",
)  # fmt: skip
_SQL = ", ".join(_COLUMNS)
_TIMES = ("created_at", "paid_at", "refunded_at")
_SEALED_DETAILS = "order details"
_SEALED_NOTE = "order note"
_decode_text = msgspec.json.Decoder(str).decode

# Nobody pays for these, and nothing was told of them that would have to be looked into.
_UNPAID = (
    "paid_at IS NULL AND created_at < ? AND payment IN ('awaited', 'expired', 'failed')"
    " AND refunded_cents = 0"
)
_UNFINISHED = (
    "EXISTS (SELECT 1 FROM jobs WHERE jobs.job_id = shop_orders.job_id AND finished_at IS NULL)"
)

# Changes nothing of one that is there, but gives it.
_INSERT = (
    f"INSERT INTO shop_orders ({_SQL}) VALUES ({', '.join('?' * len(_COLUMNS))})"
    f" ON CONFLICT (order_id) DO UPDATE SET order_id = excluded.order_id RETURNING {_SQL}"
)

# rows --------------------------------------------------------------------------------------------


def _row_from(order: Order, sealer: Sealer) -> tuple[Any, ...]:
    values = _stored(order, _COLUMNS)
    values["details"] = sealer.seal_json(order.details, _SEALED_DETAILS, order.order_id)
    values["note"] = _note_at_rest(order.order_id, order.note, sealer)
    return tuple(values.values())


def _stored(order: Order, names: Iterable[str]) -> dict[str, Any]:
    """Return fields as columns hold them, but for what is sealed."""
    values = {name: getattr(order, name) for name in names}
    for name in values.keys() & set(_TIMES):
        values[name] = values[name] and micros(values[name])
    # PostgreSQL's driver would write the member's name.
    return values | {"payment": order.payment.value}


def _note_at_rest(order_id: str, note: str | None, sealer: Sealer) -> bytes | None:
    return None if note is None else sealer.seal_json(encode_json(note), _SEALED_NOTE, order_id)


def _order_from(row: Row) -> Order:
    """Build an order from its row, its details and note as they lie there."""
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in _TIMES:
        values[name] = optional_moment(values[name])
    values["payment"] = Payment(values["payment"])
    values["details"] = bytes(values["details"])
    values["note"] = None if values["note"] is None else _decode_text(values["note"])
    return Order(**values)


def open_order(order: Order, sealer: Sealer) -> Order:
    """Open details and note.

    Raises:
        SealedValueError: One cannot be opened.
    """
    details = sealer.open_json(order.details, _SEALED_DETAILS, order.order_id)
    note = order.note
    if note is not None:
        note = _decode_text(sealer.open_json(encode_json(note), _SEALED_NOTE, order.order_id))
    return replace(order, details=details, note=note)


def shown(order: Order, sealer: Sealer) -> Order:
    """Open an order; one that cannot be opened stays sealed."""
    try:
        return open_order(order, sealer)
    except SealedValueError:
        return order


# looking -----------------------------------------------------------------------------------------


def find_order(connection: Connection | Transaction, column: str, value: str) -> Order | None:
    """Return the order with this value in a column that has an index, its content as it lies there."""
    row = connection.execute(f"{_select(column)} LIMIT 1", (value,)).fetchone()
    return None if row is None else _order_from(row)


def lock_order(tx: Transaction, column: str, value: str) -> Order | None:
    """Do the same, and hold the order until the transaction ends."""
    sql = f"{_select(column)} LIMIT 1 {tx.dialect.for_update}"
    row = tx.execute(sql, (value,)).fetchone()
    return None if row is None else _order_from(row)


def _select(column: str) -> str:
    return f"SELECT {_SQL} FROM shop_orders WHERE {column} = ?"


def list_orders(connection: Connection, dialect: Dialect, query: OrderQuery) -> list[Order]:
    """See `OrderStore.list_orders`; content is as it lies there."""
    if not 1 <= query.limit <= ORDERS_MAX:
        raise InvalidInputError(f"limit {query.limit!r} of an order list must be 1 to {ORDERS_MAX}")
    filters = {
        "subject = ?": query.subject,
        "product = ?": query.product,
        "payment = ?": query.payment and query.payment.value,
        # Ids tell no time: most are derived from what the customer has sent.
        "(created_at, order_id) < (SELECT created_at, order_id FROM shop_orders WHERE order_id = ?)": (
            query.before
        ),
    }
    used = {condition: value for condition, value in filters.items() if value is not None}
    where = f" WHERE {' AND '.join(used)}" if used else ""
    # Most orders are paid, few are one customer's, and SQLite has no statistics to know so.
    index = "" if query.subject is None else dialect.indexed_by("shop_orders_subject")
    rows = connection.execute(
        f"SELECT {_SQL} FROM shop_orders {index}{where} ORDER BY created_at DESC, order_id DESC LIMIT ?",
        (*used.values(), query.limit),
    )
    return [_order_from(row) for row in rows]


# changing ----------------------------------------------------------------------------------------


def insert_order(tx: Transaction, order: Order, unpaid_for: timedelta, sealer: Sealer) -> Order:
    """See `OrderStore.insert_order`."""
    row = tx.execute(_INSERT, _row_from(order, sealer)).fetchone()
    # Opened, for equal details are sealed differently under two keys.
    kept = open_order(_order_from(row), sealer)
    if _request_of(kept) != _request_of(order):
        raise IdempotencyConflictError(key=order.order_id, order_id=order.order_id)
    _sweep(tx, kept.order_id, unpaid_for)
    return kept


def _request_of(order: Order) -> tuple[object, ...]:
    return order.product, order.amount_cents, order.currency, order.details


def _sweep(tx: Transaction, spared: str, unpaid_for: timedelta) -> None:
    found = tx.execute(
        f"SELECT order_id FROM shop_orders {tx.dialect.indexed_by('shop_orders_unpaid')}"
        f" WHERE {_UNPAID} AND order_id <> ? ORDER BY created_at LIMIT ?"
        f" {tx.dialect.skip_locked}",
        (tx.now - span_micros(unpaid_for), spared, SWEPT_MAX),
    )
    _delete(tx, [order_id for (order_id,) in found.fetchall()])


def _delete(tx: Transaction, order_ids: Iterable[str]) -> None:
    """Delete orders that this transaction holds, and what was told of their payments."""
    rows = [(order_id,) for order_id in order_ids]
    if rows:
        tx.executemany("DELETE FROM shop_payment_events WHERE order_id = ?", rows)
        tx.executemany("DELETE FROM shop_orders WHERE order_id = ?", rows)


def write_facts(tx: Transaction, order: Order) -> None:
    """Write what an event has changed of an order that this transaction holds."""
    facts = ", ".join(f"{name} = ?" for name in _FACTS)
    values = _stored(order, _FACTS).values()
    tx.execute(f"UPDATE shop_orders SET {facts} WHERE order_id = ?", (*values, order.order_id))


def set_session(tx: Transaction, order_id: str, session_id: str) -> Order:
    """See `OrderStore.set_session`; content is as it lies there."""
    order = _held(tx, order_id)
    if order.session_id is not None:
        return order
    other = find_order(tx, "session_id", session_id)
    if other is not None:
        raise InvalidInputError(
            f"payment page {session_id!r} of order {order_id!r} is that of order {other.order_id!r}",
            hint="make a page for each order",
        )
    tx.execute("UPDATE shop_orders SET session_id = ? WHERE order_id = ?", (session_id, order_id))
    return replace(order, session_id=session_id)


def set_outcome(tx: Transaction, order_id: str, outcome: str | None) -> None:
    """See `OrderStore.set_outcome`."""
    tx.execute("UPDATE shop_orders SET outcome = ? WHERE order_id = ?", (outcome, order_id))


def set_note(tx: Transaction, order_id: str, note: str | None, sealer: Sealer) -> Order:
    """See `OrderStore.set_note`; content but the note is as it lies there."""
    order = _held(tx, order_id)
    stored = _note_at_rest(order_id, note, sealer)
    tx.execute("UPDATE shop_orders SET note = ? WHERE order_id = ?", (stored, order_id))
    return replace(order, note=note)


def erase_orders(tx: Transaction, subject: str) -> list[str]:
    """See `OrderStore.erase_orders`."""
    # In order, for two that erase the same. What runs is looked at once it can no longer begin.
    held = tx.execute(
        "SELECT order_id, payment FROM shop_orders WHERE subject = ? ORDER BY created_at, order_id"
        f" {tx.dialect.for_update}",
        (subject,),
    )
    # Of one that a bank has yet to confirm, money may come for which there would be nothing.
    found = {order_id for order_id, payment in held.fetchall() if payment != Payment.PROCESSING}
    running = tx.execute(
        f"SELECT order_id FROM shop_orders WHERE subject = ? AND {_UNFINISHED}", (subject,)
    )
    found -= {order_id for (order_id,) in running.fetchall()}
    erased = sorted(found)
    _delete(tx, erased)
    return erased


def _held(tx: Transaction, order_id: str) -> Order:
    order = lock_order(tx, "order_id", order_id)
    if order is None:
        raise OrderNotFoundError(order_id=order_id)
    return order
