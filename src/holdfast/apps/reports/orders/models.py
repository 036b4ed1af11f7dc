"""What an order holds, and how it is told."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, EmailStr, Field

from holdfast.apps.reports.models import ReportRequest
from holdfast.ids import derived_id

ORDER_KIND = "order"
"""Kind of the job that serves an order."""

MAIL_KIND = "order_mail"
"""Kind of the job that sends one e-mail of an order again."""

ORDERS_QUEUE = "reports.orders"
"""Line of both: they only start reports, wait and send mail."""

REPORT_KEY = "report"
"""Step of the order's job under which the report is made, by a child job."""

EMAIL_CHARACTERS_MAX = 254
"""Of an address (RFC 5321, with the angle brackets of a path taken off)."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _fits(address: str) -> str:
    if len(address) > EMAIL_CHARACTERS_MAX:
        message = f"an address has at most {EMAIL_CHARACTERS_MAX} characters"
        raise ValueError(message)
    return address


class OrderDetails(_Model):
    """What a customer told us: the personal part of an order."""

    email: Annotated[EmailStr, AfterValidator(_fits)]
    """Where the report is announced."""
    request: ReportRequest
    """What to make."""


class OrderStatus(StrEnum):
    """What a customer is told of an order."""

    PENDING_PAYMENT = "pending_payment"
    PAID = "paid"
    """Paid, and not begun."""
    GENERATING = "generating"
    READY = "ready"
    FAILED = "failed"
    REFUNDED = "refunded"


class MailSort(StrEnum):
    """The e-mails of an order; each is sent once."""

    CONFIRMATION = "confirmation"
    READY = "ready"
    FAILED = "failed"
    """Something could not be made, with what happens next; tells of parts that are ready, too."""


UNDELIVERED = "mail.undelivered"
"""Event of an order's job for an e-mail that has come to that end, after the step that has tried."""

MailEnd = Literal["sent", "undelivered"]
"""Undelivered: the mail server will never take it, such as for an address that does not exist, or took
nothing for days."""


class OrderInput(_Model):
    """The input of the job that serves an order: nothing personal."""

    order_id: str


class OrderResult(_Model):
    """The output of that job."""

    mails: dict[MailSort, MailEnd]


class MailInput(_Model):
    """The input of the job that sends an e-mail again."""

    order_id: str
    sort: MailSort
    again: Annotated[str, Field(min_length=1, max_length=64)]
    """Tells this sending from others of the sort."""


def customer_of(email: str) -> str:
    """Return what stands for a customer in jobs and lists: the same for one address however written."""
    return derived_id("customer", email.strip().casefold())


def encode_details(details: OrderDetails) -> bytes:
    """Return details as the store keeps them."""
    return details.model_dump_json().encode()


def decode_details(text: bytes) -> OrderDetails:
    """Return the details of a stored order."""
    return OrderDetails.model_validate_json(text)
