"""Orders as JSON, the same shape in every command; documented in `docs/reference/cli.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from holdfast.apps.reports.orders.letters import Letter
    from holdfast.apps.reports.orders.models import OrderStatus
    from holdfast.apps.reports.orders.overview import Overview
    from holdfast.apps.reports.orders.parts import Part
    from holdfast.store.orders import Order

Json = dict[str, Any]


def order_shape(order: Order, status: OrderStatus | None = None) -> Json:
    """Return an order without anything personal; with what its customer is told, where that is known."""
    return {
        "order_id": order.order_id,
        "product": order.product,
        **({} if status is None else {"status": status}),
        "payment": order.payment,
        "amount_cents": order.amount_cents,
        "currency": order.currency,
        "paid_cents": order.paid_cents,
        "refunded_cents": order.refunded_cents,
        "created_at": order.created_at,
        "paid_at": order.paid_at,
        "refunded_at": order.refunded_at,
        "session_id": order.session_id,
        "payment_id": order.payment_id,
        "subject": order.subject,
        "job_id": order.job_id,
        "outcome": order.outcome,
    }


def overview_shape(found: Overview, *, details: bool) -> Json:
    """Return all that operators ask of an order; what is personal only if `details` are asked for."""
    return {
        **order_shape(found.order, found.status),
        "title": found.title,
        "note": found.order.note,
        "progress": None if found.progress is None else found.progress.model_dump(),
        "job_status": None if found.served_by is None else found.served_by.status,
        "reports": [_part_shape(part) for part in found.parts],
        "emails": [_letter_shape(letter) for letter in found.letters],
        **({"details": msgspec.json.decode(found.order.details)} if details else {}),
    }


def _part_shape(part: Part) -> Json:
    job, result = part.job, part.result
    return {
        "product": part.product.kind,
        "title": part.product.title,
        "job_id": None if job is None else job.job_id,
        "job_status": None if job is None else job.status,
        "fraction": None if job is None else round(job.progress.fraction, 4),
        "pages": None if result is None else result.pages,
        "size_bytes": None if result is None else result.size_bytes,
        "error": None if job is None or job.error is None else job.error.code,
    }


def _letter_shape(letter: Letter) -> Json:
    return {
        "sort": letter.sort,
        "status": letter.status,
        "tries": letter.tries,
        "at": letter.at,
        "error": letter.error,
        "again": letter.again,
        "job_id": letter.job_id,
    }
