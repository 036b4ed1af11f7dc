"""The seam to a payment service."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from holdfast.store.orders import Order, PaymentEvent

PAGE_LIFETIME: Final = timedelta(hours=23)
"""How long after the order its page can be paid on. Stripe allows 24 hours, by a clock of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What a payment page is to show, and where it leads.

    Everything in it is the same whenever the page of one order is asked for: a service that remembers
    the first request refuses another one in its name.
    """

    order: Order
    title: str
    """What is bought, in the customer's words."""
    email: str = field(repr=False)
    """The customer's, filled in for them and used for the receipt."""
    success_url: str = field(repr=False)
    """Where the customer is led after paying."""
    cancel_url: str = field(repr=False)
    """Where the customer is led who goes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentPage:
    """A page on which an order can be paid."""

    session_id: str
    """The service's id of it."""
    url: str = field(repr=False)
    """Where to send the customer; whoever has it can pay."""


class Payments(Protocol):
    """What a shop needs of a payment service. Card data never comes here."""

    async def open_page(self, request: PageRequest) -> PaymentPage:
        """Make the page for an order; the same page again for the same order.

        Raises:
            OrderStateError: The order's page is over: it was paid there, or nobody came in time.
            InvalidInputError: The service does not take the customer's address.
            PaymentServiceError: The service cannot be reached or refuses; nothing was charged.
        """
        ...

    def read_event(self, body: bytes, signature: str) -> PaymentEvent | None:
        """Check the signature of a webhook over its raw body, and return what it tells.

        None for an event that is genuine but tells nothing of a payment.

        Args:
            body: As it came, to the byte.
            signature: The header with the signature; empty if there was none.

        Raises:
            InvalidSignatureError: It is not by the service, or is older than five minutes.
            InvalidInputError: It is by the service, but cannot be read.
        """
        ...

    async def look_up(self, order: Order) -> PaymentEvent | None:
        """Ask the service what has become of an order's page, for when no webhook came.

        Tells the one thing that the order has to hear next: of a payment that was given back in part,
        first the payment, and once that is on record what was given back. The event's id is derived
        from what it tells, so that asking again is a repetition. None while there is nothing to tell.

        Raises:
            PaymentServiceError: The service cannot be reached or refuses.
        """
        ...

    async def check(self) -> str:
        """Reach the service without changing anything, and return who is paid, for people.

        Raises:
            PaymentServiceError: The service cannot be reached, or refuses us.
        """
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...
