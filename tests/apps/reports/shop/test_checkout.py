"""The checkout and the payment service's webhooks over HTTP."""

import pytest

from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.payments.test_mode import PaymentAct
from holdfast.apps.reports.shop.throttles import CHECKOUTS_PER_MINUTE
from holdfast.errors import OrderStateError, PaymentServiceError, StoreUnavailableError
from holdfast.store.orders import Payment
from tests.apps.reports.orders.conftest import ordered
from tests.apps.reports.shop.conftest import ORDER

CHECKOUT, WEBHOOK = "/api/v1/checkout", "/api/v1/webhooks/stripe"


async def test_checkout_stores_an_order_and_leads_to_the_payment(http, shop, postbox):
    answer = await http.post(CHECKOUT, json=ORDER)

    told = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/orders/{told['order_id']}"
    assert told["status"] == "pending_payment"
    assert told["checkout_url"].startswith("https://reports.example/pay/")
    order = await desk.require_order(shop, told["order_id"])
    assert (order.product, order.amount_cents, order.payment) == ("life_clarity", 1999, Payment.AWAITED)
    assert shop.links.admits(told["order_token"], order.order_id)
    assert postbox.taken == []


async def test_repeated_checkout_gives_the_same_order(http):
    headers = {"Idempotency-Key": "cart-17"}

    first, second = [await http.post(CHECKOUT, json=ORDER, headers=headers) for _ in range(2)]
    other = await http.post(CHECKOUT, json=ORDER | {"email": "someone@else.example"}, headers=headers)
    conflict = await http.post(CHECKOUT, json=ORDER | {"product": "bundle"}, headers=headers)

    assert second.json()["order_id"] == first.json()["order_id"]
    assert second.json()["checkout_url"] == first.json()["checkout_url"]
    assert other.json()["order_id"] != first.json()["order_id"]
    assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_conflict")


@pytest.mark.usefixtures("cities_only")
@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"place": "Springfield"}, "place", "place_ambiguous"),
        ({"place": "Qxzzyqx"}, "place", "place_not_found"),
        ({"name": "𓀀𓀁 Example"}, "name", "name_unprintable"),
        ({"born": "14.3.1990"}, "born", "invalid"),
        ({"born": "1990-03-14 27:00"}, "born", "invalid"),
        ({"born": "2990-03-14"}, "born", "birth_invalid"),
        ({"start": "2090-01-01"}, "start", "date_out_of_range"),
    ],
)
async def test_what_cannot_be_used_is_told_with_its_field(running, changed, field, reason):
    async with running.http() as http:
        answer = await http.post(CHECKOUT, json=ORDER | changed)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    details = answer.json()["details"]
    assert (details["field"], details["reason"]) == (field, reason)
    if reason == "place_ambiguous":
        assert "Springfield, Illinois, United States" in details["suggestions"]


@pytest.mark.parametrize(
    "changed", [{"product": "tea"}, {"email": "nobody"}, {"name": ""}, {"surprise": 1}, {"born": None}]
)
async def test_checkout_that_does_not_fit_is_refused(http, changed):
    answer = await http.post(CHECKOUT, json=ORDER | changed)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_address_that_orders_without_end_is_told_to_wait(http):
    answers = [
        await http.post(CHECKOUT, json=ORDER | {"product": "tea"})
        for _ in range(CHECKOUTS_PER_MINUTE + 1)
    ]

    assert [answer.status_code for answer in answers] == [422] * CHECKOUTS_PER_MINUTE + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60


async def test_payment_service_that_is_away_is_told_and_the_same_key_goes_on(http, shop, monkeypatch):
    open_page = shop.payments.open_page

    async def refuse(request):
        raise PaymentServiceError("the service at 10.0.0.7 does not answer")

    monkeypatch.setattr(shop.payments, "open_page", refuse)
    away = await http.post(CHECKOUT, json=ORDER, headers={"Idempotency-Key": "k"})
    monkeypatch.setattr(shop.payments, "open_page", open_page)
    back = await http.post(CHECKOUT, json=ORDER, headers={"Idempotency-Key": "k"})

    assert (away.status_code, away.headers["retry-after"]) == (503, "5")
    assert "10.0.0.7" not in away.text
    assert back.status_code == 201


async def test_webhook_is_answered_once_it_is_stored(shop, tell):
    order = await ordered(shop)

    answer = await tell(order, PaymentAct.PAY)
    again = await tell(order, PaymentAct.PAY)

    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert again.status_code == 200
    paid = await desk.require_order(shop, order.order_id)
    assert (paid.payment, paid.served) == (Payment.PAID, True)


async def test_webhook_that_is_not_signed_well_changes_nothing(http, shop, tell):
    order = await ordered(shop)

    forged = await tell(order, PaymentAct.PAY, **{"Stripe-Signature": "t=1,v1=00"})
    bare = await http.post(WEBHOOK, content=b"{}")

    for answer in (forged, bare):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_signature")
    assert (await desk.require_order(shop, order.order_id)).payment is Payment.AWAITED


async def test_webhook_that_cannot_be_stored_is_asked_for_again(http, shop, tell, monkeypatch):
    order = await ordered(shop)

    async def away(event, job):
        raise StoreUnavailableError("the database is away")

    monkeypatch.setattr(shop.orders, "take_payment", away)
    answer = await tell(order, PaymentAct.PAY)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_webhooks_of_other_things_and_of_unknown_orders_are_taken(http, shop, tell, caplog):
    order = await ordered(shop)
    unknown = b'{"id":"evt_9","object":"event","type":"customer.created","data":{"object":{}}}'
    await shop.orders.erase_orders(order.subject)

    other = await http.post(
        WEBHOOK, content=unknown, headers={"Stripe-Signature": shop.payments.sign(unknown)}
    )
    orphan = await tell(order, PaymentAct.PAY)

    assert (other.status_code, orphan.status_code) == (200, 200)
    [told] = [record for record in caplog.records if record.message == "payment event fits no order"]
    assert told.event_id.startswith("evt_test_")
    assert told.payment_id.startswith("pi_test_")
    assert (told.outcome, told.news) == ("unknown_order", "paid")


async def test_page_that_is_over_leads_to_the_order_itself(http, shop, monkeypatch):
    """Paid a moment ago, and the customer has gone back: that is no error."""
    order = await ordered(shop)

    async def over(request):
        raise OrderStateError(order_id=order.order_id, status="complete", action="be paid any more")

    monkeypatch.setattr(shop.payments, "open_page", over)
    token = shop.links.token(order.order_id)
    answer = await http.get(f"/orders/{order.order_id}/pay", params={"token": token})

    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"/orders/{order.order_id}?token=")


async def test_webhook_larger_than_bodies_may_be_is_refused(http):
    answer = await http.post(WEBHOOK, content=b" " * (1024**2 + 1))

    assert answer.status_code == 413
