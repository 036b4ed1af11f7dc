"""What the auditor of orders compares: plain values, however they were come by.

Times are seconds of the run, money is in cents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.testing.chaos.books import Books


class Way(StrEnum):
    """What a customer does."""

    CARD = "card"
    """Pays by card at once."""
    DOUBLE_CLICK = "double click"
    """Presses every button twice."""
    BANK = "bank"
    """Pays by a bank that takes its time and agrees."""
    BANK_REFUSED = "bank refused"
    """Pays by a bank that takes its time and refuses."""
    ABANDONED = "abandoned"
    """Never pays; the page expires."""
    REFUND_RUNNING = "refund running"
    """Pays, and wants the money back while the report is made."""
    REFUND_AFTER = "refund after"
    """Pays, and wants the money back when the report is there."""


PAYING = frozenset(Way) - {Way.BANK_REFUSED, Way.ABANDONED}
"""Ways on which money comes."""


class Phase(StrEnum):
    """When an order came."""

    FIRST = "first"
    """Before the others, so that what is loaded once is loaded."""
    IDLE = "idle"
    """Alone on the fleet."""
    BESIDE = "beside"
    """While horoscopes run, and nothing goes wrong."""
    LONG = "long"
    """One of those horoscopes."""
    KILLS = "kills"
    """While processes are killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Somebody who orders something; nobody else has this name or address."""

    number: int
    phase: Phase
    product: str
    way: Way
    name: str
    email: str
    born: str
    place: str


@dataclass(slots=True, kw_only=True)
class Visit:
    """What a customer has seen of the shop."""

    customer: Customer
    order_ids: set[str] = field(default_factory=set)
    """All that the shop has answered to the same request."""
    page_ids: set[str] = field(default_factory=set)
    """Payment pages to which it has led."""
    status: str = ""
    """Of the order, as the shop tells it at the end."""
    files: dict[str, str] = field(default_factory=dict)
    """The hashes of what could be downloaded at the end, by product."""
    paid_at: float | None = None
    """When the customer pressed the button."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A payment page, as the payment service has it."""

    page_id: str
    order_id: str
    amount: int
    paid: int
    refunded: int
    refunds: int = 0
    """How many times something was given back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event of the payment service."""

    event_id: str
    type: str
    page_id: str
    taken: bool
    """Whether the shop has answered it well at least once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """An event, as the shop has noted it."""

    event_id: str
    order_id: str | None
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """An order, as the shop has it."""

    order_id: str
    product: str
    amount: int
    payment: str
    page_id: str | None = None
    paid: int | None = None
    paid_at: float | None = None
    refunded: int = 0
    refunded_at: float | None = None
    job_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What a PDF is."""

    sha256: str
    size: int
    pages: int | None
    """None if it cannot be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A PDF that a job says to have made."""

    job_id: str
    told: File
    """What the job says."""
    stored: File | None
    """What lies in storage; None if nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """An e-mail that the mail server has taken, each time that it has."""

    message_id: str
    order_id: str
    """Empty if the id belongs to no order."""
    sort: str
    to: str
    at: float
    answered: bool
    """Whether the sender was told so: the server may have broken the connection instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A log line that tells what it must not."""

    log: str
    line: int
    what: str
    """What it is: `an e-mail address`, never the thing itself."""


@dataclass(slots=True, kw_only=True)
class ShopBooks:
    """All that is known after a run, beside what the engine's own books say."""

    work: Books
    visits: list[Visit] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    noted: list[Noted] = field(default_factory=list)
    orders: list[OrderRow] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The reports of each product that is made of others."""
    prices: dict[str, int] = field(default_factory=dict)
    """Of each product."""
