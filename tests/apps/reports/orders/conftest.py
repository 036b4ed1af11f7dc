"""A shop over a harness: real store, real jobs, a page to pay on, and an outbox that may be away."""

from __future__ import annotations

import importlib

import pytest

from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.fulfilment import register_orders
from holdfast.apps.reports.orders.links import Links
from holdfast.apps.reports.orders.mail.base import Mail, Mailer, parse_sender
from holdfast.apps.reports.orders.models import OrderDetails
from holdfast.apps.reports.orders.payments.test_mode import PaymentAct, TestPayments
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.terms import load_terms
from holdfast.clock import Clock
from holdfast.engine.client import JobClient
from holdfast.server.tokens import Tokens
from holdfast.store.orders import Order, OrderStore, PaymentEvent, PaymentNews, Taken
from holdfast.testing.harness import Harness
from tests.apps.reports.conftest import report_request

# Loads for seconds: the first job that needs it would wait for it, and its test with it.
importlib.import_module("holdfast.llm.agents")

EMAIL = "amelie@customers.example"
SECRET = "a secret of the tests, long enough for everybody"
URL = "https://reports.example"


class Postbox:
    """A mailer that keeps what it was given, and may be told to fail."""

    def __init__(self) -> None:
        self.sender = parse_sender("Acme Reports <reports@acme.example>")
        self.taken: list[Mail] = []
        self.errors: list[Exception] = []
        """What to raise, first to last, before an e-mail is taken."""
        self.lost_answers = 0
        """How many e-mails are taken without saying so."""

    async def send(self, mail: Mail) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.taken.append(mail)
        if self.lost_answers:
            self.lost_answers -= 1
            raise ConnectionError("broken off")

    async def check(self) -> str:
        return "a list"

    async def forget(self, address: str) -> int:
        return 0

    @property
    def subjects(self) -> list[str]:
        """What was sent, each e-mail once, sorted."""
        return sorted({mail.message_id: mail.subject.split(":")[0] for mail in self.taken}.values())


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


def make_shop(orders: OrderStore, client: JobClient, mailer: Mailer, clock: Clock) -> Shop:
    """Return a shop in test mode; all of one clock know each other's signatures."""
    return Shop(
        mode="test",
        orders=orders,
        client=client,
        terms=load_terms(),
        payments=TestPayments([SECRET], URL, clock),
        mailer=mailer,
        links=Links(URL, Tokens([SECRET], clock), clock),
        clock=clock,
    )


@pytest.fixture
async def shop(harness: Harness, postbox: Postbox) -> Shop:
    made = make_shop(harness.real_store.orders, harness.client, postbox, harness.clock)
    register_orders(harness.registry)
    harness.services.resources[Shop] = made
    return made


async def ordered(shop: Shop, product: str = "life_clarity", email: str = EMAIL) -> Order:
    """Return an order that waits to be paid, of a small report."""
    request = report_request(days=1, answers_per_period=1, sections_per_batch=12)
    details = OrderDetails(email=email, request=request)
    return (await desk.open_order(shop, product, details)).order


def payment_of(order: Order) -> str:
    """Return the payment of an order as test mode names it."""
    return str(order.session_id).replace("cs_", "pi_", 1)


async def paid(shop: Shop, order: Order, event_id: str = "evt_paid") -> Taken:
    """Tell of the order's payment."""
    event = PaymentEvent(
        event_id=f"{event_id}_{order.order_id}",
        news=PaymentNews.PAID,
        order_id=order.order_id,
        session_id=order.session_id,
        payment_id=payment_of(order),
        paid_cents=order.amount_cents,
    )
    return await desk.take_event(shop, event)


async def told(shop: Shop, order: Order, act: PaymentAct) -> Taken:
    """Take the webhook of an act, as the payment service would send it."""
    assert isinstance(shop.payments, TestPayments)
    body = shop.payments.event_for(order, act)
    taken = await desk.take_webhook(shop, body, shop.payments.sign(body))
    assert taken is not None
    return taken


def job_of(taken: Taken) -> str:
    """Return the job that the news has submitted."""
    assert taken.job is not None
    return taken.job.job_id


@pytest.fixture
def desk_errors(desk):
    """Have the writing of a batch fail."""

    def fail(batch: str, *errors: Exception) -> None:
        desk.errors[batch] = list(errors)

    return fail


@pytest.fixture
def desk_batches(desk):
    """Give the batches written so far."""
    return lambda: list(desk.batches)


@pytest.fixture
def desk_hold(desk):
    """Keep the answer to a batch back."""

    def hold(batch: str):
        desk.held = batch
        return desk.reached, desk.release

    return hold
