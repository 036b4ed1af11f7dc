"""What Stripe tells, as news of a payment: pure functions from its JSON.

Read with care for what may differ between API versions and between shops on one Stripe account: only
the fields that are needed, references as ids or as whole objects, and orders of others as nobody's.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError

from holdfast.codec import describe_invalid
from holdfast.errors import InvalidInputError
from holdfast.ids import derived_id
from holdfast.store.orders import Order, PaymentEvent, PaymentNews

EVENT_TYPES: Final = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "charge.refunded",
)
"""What a webhook endpoint at Stripe has to subscribe to; all others are none of our business.

Not `refund.created` and `refund.updated`: each is about one refund, and tells neither what was given
back in sum nor, always, which charge it belongs to. `charge.refunded` comes for each of them, too.
"""

ORDER_ID: Final = "order_id"
"""Name of the order's id in the metadata of pages, payments and charges."""

_SESSION_NEWS = {
    "checkout.session.async_payment_succeeded": PaymentNews.PAID,
    "checkout.session.async_payment_failed": PaymentNews.FAILED,
    "checkout.session.expired": PaymentNews.EXPIRED,
}

_COMPLETED_NEWS = {
    "paid": PaymentNews.PAID,
    "no_payment_required": PaymentNews.PAID,
    "unpaid": PaymentNews.PROCESSING,
}

_NEVER_PAID = frozenset({"requires_payment_method", "canceled"})
"""Where the payment of a page that the customer is done with stands after a bank has refused it."""


def _unexpanded(value: object) -> object:
    """Return the id of an object that was sent whole instead of its id."""
    return value.get("id") if isinstance(value, dict) else value


_Id = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]
_Reference = Annotated[_Id | None, BeforeValidator(_unexpanded)]
_Cents = Annotated[int, Field(strict=True, ge=0, le=2**53)]


class _Envelope(BaseModel):
    id: _Id
    type: _Id
    data: Any = None


class _Data(BaseModel):
    object: dict[str, Any]


class _Named(BaseModel):
    """Carries an order's id, if it is about an order of ours; anything may be in its place."""

    # Not the page's `client_reference_id`, which whoever opens a payment link of the same account may
    # choose: a cheap purchase there must not pay for an order here.
    metadata: Any = None

    @property
    def order_id(self) -> str | None:
        """The order that it names; None if it is not one that we could have named."""
        metadata = self.metadata if isinstance(self.metadata, dict) else {}
        named = metadata.get(ORDER_ID)
        return named if isinstance(named, str) and _could_be_ours(named) else None


class _Session(_Named):
    id: _Id
    payment_intent: _Reference = None
    payment_status: str | None = None
    amount_total: _Cents | None = None


class _Completed(_Session):
    payment_status: Literal["paid", "unpaid", "no_payment_required"]


class _Charge(_Named):
    payment_intent: _Reference = None
    amount_refunded: _Cents


class _LatestCharge(BaseModel):
    amount_refunded: _Cents = 0


class _Payment(BaseModel):
    id: _Id
    status: str
    latest_charge: _LatestCharge | None = None


class _WholeSession(_Session):
    """A page as it is looked up, with its payment and charge in it."""

    status: Literal["open", "complete", "expired"]
    payment: Annotated[_Payment | None, Field(validation_alias="payment_intent")] = None


def read_event(body: bytes) -> PaymentEvent | None:
    """Return what an event tells; None if it is not about the payment of a page.

    Raises:
        InvalidInputError: It is no event, or not of the form that Stripe documents.
    """
    try:
        envelope = _Envelope.model_validate_json(body)
        if envelope.type not in EVENT_TYPES:
            return None
        told = _Data.model_validate(envelope.data).object
        if envelope.type == "charge.refunded":
            return _refunded(envelope.id, _Charge.model_validate(told))
        if envelope.type == "checkout.session.completed":
            completed = _Completed.model_validate(told)
            return _of_page(envelope.id, _COMPLETED_NEWS[completed.payment_status], completed)
        return _of_page(envelope.id, _SESSION_NEWS[envelope.type], _Session.model_validate(told))
    except ValidationError as error:
        raise _unreadable("an event", error) from None


def tell_session(session: dict[str, Any], order: Order) -> PaymentEvent | None:
    """Return what a page that was looked up has to tell its order next; None if that is nothing.

    Args:
        session: With `payment_intent.latest_charge` expanded.
        order: What is known already.

    Raises:
        InvalidInputError: It is not of the form that Stripe documents.
    """
    try:
        found = _WholeSession.model_validate(session)
    except ValidationError as error:
        raise _unreadable(f"the payment page of order {order.order_id!r}", error) from None
    news = _news_of(found, order)
    if news is None:
        return None
    refunded = _refunded_cents(found) if news is PaymentNews.REFUNDED else None
    return PaymentEvent(
        event_id=derived_id("look", order.order_id, found.id, news.value, str(refunded or 0)),
        news=news,
        order_id=order.order_id,
        session_id=found.id,
        payment_id=found.payment_intent,
        paid_cents=found.amount_total if news is PaymentNews.PAID else None,
        refunded_cents=refunded,
    )


def _news_of(found: _WholeSession, order: Order) -> PaymentNews | None:
    if found.status == "open":
        return None
    if found.status == "expired":
        return PaymentNews.EXPIRED
    if found.payment_status == "unpaid":
        refused = found.payment is not None and found.payment.status in _NEVER_PAID
        return PaymentNews.FAILED if refused else PaymentNews.PROCESSING
    given_back = _refunded_cents(found)
    if given_back and (order.paid_at is not None or given_back >= order.amount_cents):
        return PaymentNews.REFUNDED
    return PaymentNews.PAID


def _refunded_cents(found: _WholeSession) -> int:
    if found.payment is None or found.payment.latest_charge is None:
        return 0
    return found.payment.latest_charge.amount_refunded


def _of_page(event_id: str, news: PaymentNews, session: _Session) -> PaymentEvent:
    return PaymentEvent(
        event_id=event_id,
        news=news,
        order_id=session.order_id,
        session_id=session.id,
        payment_id=session.payment_intent,
        paid_cents=session.amount_total if news is PaymentNews.PAID else None,
    )


def _refunded(event_id: str, charge: _Charge) -> PaymentEvent:
    return PaymentEvent(
        event_id=event_id,
        news=PaymentNews.REFUNDED,
        order_id=charge.order_id,
        payment_id=charge.payment_intent,
        refunded_cents=charge.amount_refunded,
    )


def _could_be_ours(order_id: str) -> bool:
    return len(order_id) <= 255 and order_id.isascii() and order_id.isprintable()


def _unreadable(what: str, error: ValidationError) -> InvalidInputError:
    return InvalidInputError(
        f"{what} of Stripe's cannot be read: {describe_invalid(error)}",
        hint="check the API version of the webhook endpoint; Stripe tells the event again for days",
    )
