"""What the jobs of orders, the shop's pages and operators work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from holdfast.apps.reports.orders.links import Links
    from holdfast.apps.reports.orders.mail.base import Mailer
    from holdfast.apps.reports.orders.payments.base import Payments
    from holdfast.apps.reports.terms import Terms
    from holdfast.clock import Clock
    from holdfast.engine.client import JobClient
    from holdfast.store.orders import OrderStore

Mode = Literal["live", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """Everything open that orders need, in workers, in the service and on the command line."""

    mode: Mode
    """In test mode nobody pays anything."""
    orders: OrderStore
    client: JobClient
    terms: Terms
    payments: Payments
    mailer: Mailer
    links: Links
    clock: Clock
