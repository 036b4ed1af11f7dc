"""What a payment event does, in one transaction: it is noted, its order moves on, and its job with it.

An order is held before its job, and nobody who holds jobs asks for an order.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.errors import (
    IdempotencyConflictError,
    InvalidInputError,
    JobFinishedError,
    JobNotFoundError,
    SealedValueError,
)
from holdfast.store.controls import cancel_job
from holdfast.store.jobs import insert_job, load_job
from holdfast.store.order_rows import find_order, lock_order, write_facts
from holdfast.store.orders import SWEPT_MAX, Payment, PaymentOutcome, Taken, what_becomes_of
from holdfast.store.rows import moment, span_micros

if TYPE_CHECKING:
    from holdfast.model import Job
    from holdfast.store.base import NewJob
    from holdfast.store.orders import Order, PaymentEvent
    from holdfast.store.sealed_values import Sealer
    from holdfast.store.transaction import Transaction

UNKNOWN_KEPT = timedelta(days=90)
"""How long an event is kept that no order was found for."""

# What was told of an order that was not there yet may be told again once it is.
_NOTE = """
INSERT INTO shop_payment_events (event_id, order_id, news, outcome, session_id, payment_id, paid_cents,
    refunded_cents, taken_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (event_id) DO UPDATE SET order_id = excluded.order_id, outcome = excluded.outcome,
    taken_at = excluded.taken_at
WHERE shop_payment_events.order_id IS NULL
"""


def take_payment(tx: Transaction, event: PaymentEvent, job: NewJob | None, sealer: Sealer) -> Taken:
    """See `OrderStore.take_payment`; content of the order is as it lies there."""
    order = _find(tx, event)
    if order is None:
        return _unknown(tx, event)
    outcome, after = _outcome(tx, order, event)
    # Before anything else is written: where another process notes the same event, its order is held,
    # so that this one comes here once that has committed.
    if not _note(tx, event, outcome, order.order_id):
        return Taken(outcome=PaymentOutcome.REPEATED, order=order)
    changed: Job | None = None
    if after.payment is Payment.PAID and not after.served:
        if job is None:
            raise InvalidInputError(
                f"payment event {event.event_id!r} needs the job that serves its order"
            )
        after, changed = _served(tx, after, job, sealer)
    elif after.payment is Payment.REFUNDED is not order.payment and after.job_id is not None:
        changed = _cancelled(tx, after.job_id, sealer)
    if after != order:
        write_facts(tx, after)
        tx.topics.add(after.order_id)
    return Taken(outcome=outcome, order=after, job=changed)


def _find(tx: Transaction, event: PaymentEvent) -> Order | None:
    """Return the order of an event, held until the transaction ends."""
    for column in ("order_id", "session_id", "payment_id"):
        value = getattr(event, column)
        if value is not None:
            order = lock_order(tx, column, value)
            if order is not None or column == "order_id":
                return order
    return None


def _outcome(tx: Transaction, order: Order, event: PaymentEvent) -> tuple[PaymentOutcome, Order]:
    """Return what becomes of the event, and the order after it."""
    if _foreign(tx, order, event):
        return PaymentOutcome.FOREIGN, order
    known = replace(
        order,
        session_id=order.session_id or event.session_id,
        payment_id=order.payment_id or event.payment_id,
    )
    after = what_becomes_of(known, event, moment(tx.now))
    return PaymentOutcome.NO_EFFECT if after == order else PaymentOutcome.APPLIED, after


def _foreign(tx: Transaction, order: Order, event: PaymentEvent) -> bool:
    if event.session_id is None:
        return None not in (order.payment_id, event.payment_id) and order.payment_id != event.payment_id
    if order.session_id is not None:
        return order.session_id != event.session_id
    return find_order(tx, "session_id", event.session_id) is not None


def _note(tx: Transaction, event: PaymentEvent, outcome: PaymentOutcome, order_id: str | None) -> bool:
    """Note an event and what became of it; whether it is news."""
    written = tx.execute(
        _NOTE,
        (
            *(event.event_id, order_id, event.news.value, outcome.value),
            *(event.session_id, event.payment_id, event.paid_cents, event.refunded_cents, tx.now),
        ),
    )
    return bool(written.rowcount)


def _unknown(tx: Transaction, event: PaymentEvent) -> Taken:
    if not _note(tx, event, PaymentOutcome.UNKNOWN_ORDER, None):
        return Taken(outcome=PaymentOutcome.REPEATED)
    tx.execute(
        "DELETE FROM shop_payment_events WHERE event_id IN (SELECT event_id FROM shop_payment_events"
        f" WHERE order_id IS NULL AND taken_at < ? ORDER BY taken_at LIMIT ? {tx.dialect.skip_locked})",
        (tx.now - span_micros(UNKNOWN_KEPT), SWEPT_MAX),
    )
    return Taken(outcome=PaymentOutcome.UNKNOWN_ORDER)


# the job -----------------------------------------------------------------------------------------


def _served(tx: Transaction, order: Order, new: NewJob, sealer: Sealer) -> tuple[Order, Job | None]:
    """Submit the job of an order; return the order with it, and the job if it is a new one."""
    sealed = replace(new, input=sealer.seal_json(new.input, "input", new.job_id))
    try:
        submitted = insert_job(tx, sealed)
    except IdempotencyConflictError as conflict:
        # Equal inputs of two jobs are sealed differently.
        found = sealer.open_job(load_job(tx, conflict.job_id))
        if (found.kind, found.input) != (new.kind, new.input):
            raise
        return replace(order, job_id=found.job_id), None
    job = sealer.open_job(submitted.job)
    return replace(order, job_id=job.job_id), job if submitted.created else None


def _cancelled(tx: Transaction, job_id: str, sealer: Sealer) -> Job | None:
    """Request the end of an order's job; None if it has ended, or is gone."""
    try:
        job = cancel_job(tx, job_id)
    except (JobFinishedError, JobNotFoundError):
        return None
    try:
        return sealer.open_job(job)
    except SealedValueError:
        return job
