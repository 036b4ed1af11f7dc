"""The seam to a payment service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from holdfast.store.orders import Order, PaymentEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What a payment page is to show, and where it leads."""

    order: Order
    title: str
    """What is bought, in the customer's words."""
    email: str
    """The customer's, filled in for them and used for the receipt."""
    success_url: str
    """Where the customer is led after paying."""
    cancel_url: str
    """Where the customer is led who goes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentPage:
    """A page on which an order can be paid."""

    session_id: str
    """The service's id of it."""
    url: str
    """Where to send the customer."""


class Payments(Protocol):
    """What a shop needs of a payment service. Card data never comes here."""

    async def open_page(self, request: PageRequest) -> PaymentPage:
        """Make the page for an order; the same page again for the same order.

        Raises:
            PaymentServiceError: The service cannot be reached or refuses; nothing was charged.
        """
        ...

    def read_event(self, body: bytes, signature: str) -> PaymentEvent | None:
        """Check the signature of a webhook over its raw body, and return what it tells.

        None for an event that is genuine but tells nothing of a payment.

        Raises:
            InvalidSignatureError: It is not by the service, or is older than five minutes.
            InvalidInputError: It is by the service, but cannot be read.
        """
        ...

    async def look_up(self, order: Order) -> PaymentEvent | None:
        """Ask the service what has become of an order's page, for when no webhook came.

        The event's id is derived from what it tells, so that asking again is a repetition. None while
        there is nothing to tell.

        Raises:
            PaymentServiceError: The service cannot be reached or refuses.
        """
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...
