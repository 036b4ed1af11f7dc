"""What the databases can hold: refused where it comes in, alike on all of them.

Left to the databases, one takes what another refuses, and each says so in its own way and too late.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.codec import is_storable
from holdfast.errors import InvalidInputError, JobNotFoundError
from holdfast.store.orders import NOTE_CHARACTERS_MAX

if TYPE_CHECKING:
    from holdfast.store.base import JobQuery, NewJob, PruneRequest
    from holdfast.store.orders import Order, OrderQuery, PaymentEvent

NAME_CHARACTERS_MAX = 255
"""Two of them, at four bytes a character, fit into an entry of an index of PostgreSQL."""

NUMBER_MAX = 2**31 - 1

SEQ_MAX = 2**63 - 1

DELAY_MAX = timedelta(days=36_500)
"""Times beyond the year 9999 cannot be read back."""

_NAMES = (
    "job_id", "kind", "queue", "tenant", "subject", "idempotency_key", "concurrency_key", "parent_id",
    "before", "order_id", "product", "currency", "session_id", "payment_id", "event_id", "outcome",
)  # fmt: skip
_AMOUNTS = ("amount_cents", "paid_cents", "refunded_cents")

DETAILS_BYTES_MAX = 256 * 1024
"""Of what a shop keeps of its own with an order."""


def check_name(what: str, name: str) -> None:
    """Check what jobs are found by.

    Raises:
        InvalidInputError: It cannot be stored.
    """
    if len(name) > NAME_CHARACTERS_MAX:
        raise InvalidInputError(
            f"{what} {name[:40]!r}… has {len(name)} characters, the limit is {NAME_CHARACTERS_MAX}",
            hint="use a shorter one, such as a hash of it",
        )
    if not is_storable(name):
        raise InvalidInputError(
            f"{what} {name!r} has a NUL character or half of a surrogate pair, which cannot be stored",
            hint="remove it; if the text came in from outside, check how it was decoded",
        )


def check_job_id(job_id: str) -> None:
    """Check an id that a caller asks for.

    Raises:
        JobNotFoundError: No job can have it.
    """
    if not is_storable(job_id):
        raise JobNotFoundError(job_id=job_id)


def check_names(found: NewJob | JobQuery | PruneRequest | Order | OrderQuery | PaymentEvent) -> None:
    """Check all names in what a caller gave.

    Raises:
        InvalidInputError: One cannot be stored.
    """
    for field in _NAMES:
        name = getattr(found, field, None)
        if name is not None:
            check_name(field.replace("_", " "), name)


def check_new_job(new: NewJob) -> None:
    """Check a job to be queued.

    Raises:
        InvalidInputError: A name or number cannot be stored.
    """
    check_names(new)
    _check_number("priority", new.priority, -NUMBER_MAX)
    if new.concurrency_limit is not None:
        _check_number("concurrency limit", new.concurrency_limit, 1)
    if new.delay is not None and new.delay > DELAY_MAX:
        raise InvalidInputError(
            f"a delay of {new.delay.days} days is longer than the limit of {DELAY_MAX.days} days"
        )


def check_order(order: Order) -> None:
    """Check an order to be kept.

    Raises:
        InvalidInputError: A name, an amount or the shop's own data cannot be stored.
    """
    _check_money(order)
    if len(order.details) > DETAILS_BYTES_MAX:
        raise InvalidInputError(
            f"details of order {order.order_id!r} have {len(order.details)} bytes,"
            f" the limit is {DETAILS_BYTES_MAX}"
        )
    check_note(order.order_id, order.note)


def check_event(event: PaymentEvent, job: NewJob | None) -> None:
    """Check a payment event, and the job that it may submit.

    Raises:
        InvalidInputError: A name or number cannot be stored.
    """
    _check_money(event)
    if job is not None:
        check_new_job(job)


def _check_money(found: Order | PaymentEvent) -> None:
    check_names(found)
    for field in _AMOUNTS:
        amount = getattr(found, field, None)
        if amount is not None and not 0 <= amount <= SEQ_MAX:
            raise InvalidInputError(f"{field.replace('_', ' ')} {amount} is not within 0 and {SEQ_MAX}")


def check_note(order_id: str, note: str | None) -> None:
    """Check an operator's note on an order.

    Raises:
        InvalidInputError: It is too long, or cannot be stored.
    """
    if note is None:
        return
    if len(note) > NOTE_CHARACTERS_MAX:
        raise InvalidInputError(
            f"note on order {order_id!r} has {len(note)} characters, the limit is {NOTE_CHARACTERS_MAX}"
        )
    if not is_storable(note):
        raise InvalidInputError(
            f"note on order {order_id!r} has a NUL character or half of a surrogate pair,"
            " which cannot be stored"
        )


def check_seq(after: int) -> None:
    """Check the event number that a reader goes on after.

    Raises:
        InvalidInputError: No event can have it.
    """
    if after > SEQ_MAX:
        raise InvalidInputError(f"event number {after} is beyond the largest, {SEQ_MAX}")


def _check_number(what: str, number: int, least: int) -> None:
    if not least <= number <= NUMBER_MAX:
        raise InvalidInputError(f"{what} {number} is not within {least} and {NUMBER_MAX}")
