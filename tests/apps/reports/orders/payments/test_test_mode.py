"""Test mode goes Stripe's way: what it signs is what the live code reads."""

from urllib.parse import parse_qs, urlsplit

import pytest
import stripe

from holdfast.apps.reports.orders.payments import test_mode
from holdfast.apps.reports.orders.payments.base import PageRequest
from holdfast.apps.reports.orders.payments.stripe import StripePayments
from holdfast.apps.reports.orders.payments.test_mode import PaymentAct
from holdfast.clock import SystemClock
from holdfast.errors import InvalidSignatureError
from holdfast.store.orders import Order, Payment, what_becomes_of
from holdfast.testing.clock import ManualClock

SECRET, OTHER = "a secret of the service, long enough", "another secret of it, long enough, too"
CLOCK = ManualClock()
ORDER = Order(
    order_id="order_1",
    product="life_clarity",
    amount_cents=1999,
    currency="usd",
    subject="customer_1",
    details=b"{}",
    created_at=CLOCK.now(),
)


def payments(*secrets, clock=CLOCK):
    return test_mode.TestPayments(secrets or (SECRET,), "http://shop.example/", clock)


def page_request(order=ORDER):
    return PageRequest(
        order=order,
        title="Life Clarity",
        email="ada@example.org",
        success_url="http://shop.example/orders/order_1",
        cancel_url="http://shop.example/reports",
    )


def after(*acts):
    """Return an order to which these acts were told, in this order."""
    order, test = ORDER, payments()
    for act in acts:
        body = test.event_for(order, act)
        order = what_becomes_of(order, test.read_event(body, test.sign(body)), CLOCK.now())
    return order


async def test_page_is_our_own_and_the_same_each_time():
    test = payments()

    page, again = [await test.open_page(page_request()) for _ in range(2)]

    url = urlsplit(page.url)
    [token] = parse_qs(url.query)["token"]
    assert page == again
    assert (url.netloc, url.path) == ("shop.example", f"/pay/{page.session_id}")
    assert page.session_id.startswith("cs_test_")
    assert test.admits(token, page.session_id)
    assert not test.admits(token, "cs_test_OTHER")
    assert not test.admits("", page.session_id)
    assert token not in repr(page)
    assert "ada@" not in repr(page_request())


@pytest.mark.parametrize(
    ("acts", "payment"),
    [
        (["pay"], Payment.PAID),
        (["pay_later"], Payment.PROCESSING),
        (["pay_later", "confirm"], Payment.PAID),
        (["confirm", "pay_later"], Payment.PAID),
        (["pay_later", "refuse"], Payment.FAILED),
        (["leave"], Payment.EXPIRED),
        (["pay", "refund"], Payment.REFUNDED),
        (["refund", "pay"], Payment.REFUNDED),
    ],
)
def test_acts_move_the_order_on(acts, payment):
    assert after(*map(PaymentAct, acts)).payment is payment


def test_refund_of_a_part_leaves_the_order_paid():
    test = payments()
    body = test.event_for(ORDER, PaymentAct.REFUND, refunded_cents=500)

    told = test.read_event(body, test.sign(body))

    assert told.refunded_cents == 500
    assert told.payment_id is not None


@pytest.mark.parametrize("act", PaymentAct)
def test_events_are_stripes_in_form_and_repeatable(act):
    test = payments(clock=ManualClock(SystemClock().now()))
    body = test.event_for(ORDER, act)

    secret = test_mode._webhook_secret(SECRET, CLOCK)
    event = stripe.Webhook.construct_event(body, test.sign(body), secret)

    assert event.data.object.object in {"checkout.session", "charge"}
    assert test.read_event(body, test.sign(body)).event_id == event.id
    assert body == test.event_for(ORDER, act)
    if act is not PaymentAct.REFUND:
        assert event.data.object.client_reference_id == "order_1"


def test_secrets_can_be_rolled():
    body = payments(OTHER).event_for(ORDER, PaymentAct.PAY)
    signature = payments(OTHER).sign(body)

    assert payments(SECRET, OTHER).read_event(body, signature) is not None
    with pytest.raises(InvalidSignatureError):
        payments(SECRET).read_event(body, signature)


def test_live_shop_takes_no_event_of_test_mode():
    """Whoever can pay nothing on a test page must not be served by a shop that sells."""
    body = payments().event_for(ORDER, PaymentAct.PAY)
    live = StripePayments("sk_live_x", [SECRET], clock=CLOCK)

    with pytest.raises(InvalidSignatureError):
        live.read_event(body, payments().sign(body))


async def test_there_is_nothing_to_look_up():
    test = payments()

    assert await test.look_up(ORDER) is None
    assert "nobody pays" in await test.check()
    await test.close()
