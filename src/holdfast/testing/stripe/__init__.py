"""A local Stripe: as much of its API as a shop needs, its books, its webhooks and its bad days.

`async with StripeSimulator() as stripe: …`; point `api_base` at `stripe.base_url` and its
`courier.url` at the shop's webhook. `books.pay`, `settle`, `expire` and `refund` play customers, banks
and operators; `courier.deliver` brings the events of it, in order or by chance, and again if refused.
"""

from holdfast.testing.stripe.books import Books, Method, Refund
from holdfast.testing.stripe.courier import Courier, Delivery
from holdfast.testing.stripe.faults import FaultKind, FaultPlan
from holdfast.testing.stripe.server import API_KEY, WEBHOOK_SECRET, StripeSimulator

__all__ = [
    "API_KEY",
    "WEBHOOK_SECRET",
    "Books",
    "Courier",
    "Delivery",
    "FaultKind",
    "FaultPlan",
    "Method",
    "Refund",
    "StripeSimulator",
]
