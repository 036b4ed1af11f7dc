"""The local Stripe: what an auditor trusts must itself be right. Asked by Stripe's own library."""

import random
from collections.abc import AsyncIterator

import aiohttp
import httpx2
import pytest
import stripe
from aiohttp import web

from holdfast.testing.signals import eventually
from holdfast.testing.stripe import (
    API_KEY,
    WEBHOOK_SECRET,
    FaultKind,
    FaultPlan,
    Method,
    StripeSimulator,
)
from holdfast.testing.stripe.problems import ApiError

PAGE = {
    "mode": "payment",
    "success_url": "https://shop.example/?s={CHECKOUT_SESSION_ID}",
    "client_reference_id": "order_1",
    "metadata": {"order_id": "order_1"},
    "payment_intent_data": {"metadata": {"order_id": "order_1"}},
    "line_items": [
        {
            "quantity": 1,
            "price_data": {
                "currency": "usd",
                "unit_amount": 1999,
                "product_data": {"name": "Life Clarity"},
            },
        }
    ],
}


@pytest.fixture
async def local() -> AsyncIterator[StripeSimulator]:
    async with StripeSimulator() as local:
        yield local


@pytest.fixture
async def api(local) -> AsyncIterator[stripe.StripeClient]:
    http = stripe.AIOHTTPClient(timeout=aiohttp.ClientTimeout(total=10))
    yield stripe.StripeClient(API_KEY, base_addresses={"api": local.base_url}, http_client=http)
    await http.close_async()


async def test_page_is_made_shown_and_expired(local, api):
    made = await api.v1.checkout.sessions.create_async(PAGE)
    seen = await api.v1.checkout.sessions.retrieve_async(made.id)
    listed = await api.v1.checkout.sessions.list_async({"limit": 1})
    ended = await api.v1.checkout.sessions.expire_async(made.id)

    assert (seen.status, seen.payment_status, seen.url) == ("open", "unpaid", made.url)
    assert [each.id for each in listed.data] == [made.id]
    assert (ended.status, ended.url) == ("expired", None)
    assert [each.event["type"] for each in local.courier.pending] == ["checkout.session.expired"]


async def test_payment_and_refund_are_in_the_books_and_told(local, api):
    made = await api.v1.checkout.sessions.create_async(PAGE)
    local.books.pay(made.id)
    whole = await api.v1.checkout.sessions.retrieve_async(
        made.id, {"expand": ["payment_intent.latest_charge"]}
    )

    refund = await api.v1.refunds.create_async(
        {"payment_intent": whole.payment_intent.id, "amount": 500}
    )
    rest = await api.v1.refunds.create_async({"charge": whole.payment_intent.latest_charge.id})

    [paid] = local.books.paid
    assert (refund.amount, rest.amount, paid.refunded_cents) == (500, 1499, 1999)
    assert [each.cents for each in local.books.refunds] == [500, 1499]
    assert local.books.of_order("order_1") == [paid]
    told = [each.event for each in local.courier.deliveries]
    assert [each["type"] for each in told] == [
        "checkout.session.completed",
        "charge.refunded",
        "charge.refunded",
    ]
    assert [each["data"]["object"].get("amount_refunded") for each in told] == [None, 500, 1999]
    assert told[1]["data"]["object"]["metadata"] == {"order_id": "order_1"}
    with pytest.raises(stripe.InvalidRequestError, match="0 cents are left"):
        await api.v1.refunds.create_async({"payment_intent": paid.payment_id})


async def test_key_repeats_the_first_answer_and_refuses_another_request(local, api):
    sessions, options = api.v1.checkout.sessions, {"idempotency_key": "k"}
    first = await sessions.create_async(PAGE, options)
    again = await sessions.create_async(PAGE, options)

    with pytest.raises(stripe.IdempotencyError):
        await sessions.create_async({**PAGE, "customer_email": "a@b.example"}, options)

    assert first.id == again.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(local.books.purchases) == 1


async def test_failure_of_the_server_is_repeated_and_a_refusal_is_not(local, api):
    sessions = api.v1.checkout.sessions
    local.faults.order(FaultKind.SERVER_ERROR)
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            await sessions.create_async(PAGE, {"idempotency_key": "a"})
    local.faults.order(FaultKind.UNAVAILABLE)
    with pytest.raises(stripe.APIError, match="unavailable"):
        await sessions.create_async(PAGE, {"idempotency_key": "b"})

    assert await sessions.create_async(PAGE, {"idempotency_key": "b"})
    assert len(local.books.purchases) == 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"colour": "red"}, "colour"),
        ({"mode": "setup"}, "mode"),
        ({"success_url": ""}, "success_url"),
        ({"expires_at": 1}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"customer_email": "ada"}, "customer_email"),
    ],
)
async def test_pages_are_refused_as_stripe_refuses_them(change, param, api):
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await api.v1.checkout.sessions.create_async({**PAGE, **change})

    assert caught.value.param == param


async def test_only_the_key_lets_in(local):
    url = f"{local.base_url}/v1/checkout/sessions"
    async with httpx2.AsyncClient(trust_env=False) as http:
        none = await http.get(url)
        basic = await http.get(url, auth=(API_KEY, ""))
        bearer = await http.get(url, headers={"Authorization": f"Bearer {API_KEY}"})

    assert [each.status_code for each in (none, basic, bearer)] == [401, 200, 200]


async def test_what_cannot_happen_is_refused(local, api):
    made = await api.v1.checkout.sessions.create_async(PAGE)

    with pytest.raises(ApiError):
        local.books.settle(made.id, succeeded=True)
    local.books.pay(made.id, Method.BANK)
    for act in (local.books.pay, local.books.expire):
        with pytest.raises(ApiError, match="only open ones"):
            act(made.id)
    assert local.books.paid == []
    local.books.settle(made.id, succeeded=False)
    with pytest.raises(ApiError):
        local.books.settle(made.id, succeeded=True)
    with pytest.raises(ApiError, match="No such"):
        local.books.pay("cs_none")


async def test_customer_pays_on_a_page(local, api):
    made = await api.v1.checkout.sessions.create_async(PAGE)
    async with httpx2.AsyncClient(trust_env=False) as http:
        shown = await http.get(made.url)
        paid = await http.post(made.url, data={"method": "card"})

    assert "19.99 USD" in shown.text
    assert paid.headers["location"] == f"https://shop.example/?s={made.id}"
    assert [each.session_id for each in local.books.paid] == [made.id]


def test_chances_are_the_same_for_the_same_seed():
    def draws(seed):
        plan = FaultPlan(chances={FaultKind.DROP: 0.3}, seed=seed)
        return [plan.draw() for _ in range(50)]

    assert draws(1) == draws(1) != draws(2)
    assert 3 < draws(1).count(FaultKind.DROP) < 30


# --- webhooks ------------------------------------------------------------------------------


class Shop:
    """Takes webhooks as told, and checks each by Stripe's library."""

    def __init__(self):
        self.answers = []
        """Statuses to give first; 200 afterwards."""
        self.taken = []

    async def take(self, request):
        event = stripe.Webhook.construct_event(
            await request.read(), request.headers["Stripe-Signature"], WEBHOOK_SECRET
        )
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.taken.append(event.id)
        return web.Response(status=status)


@pytest.fixture
async def shop(local) -> AsyncIterator[Shop]:
    shop, app = Shop(), web.Application()
    app.add_routes([web.post("/hook", shop.take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    local.courier.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield shop
    await runner.cleanup()


async def happen(local, api, times=3):
    for number in range(times):
        made = await api.v1.checkout.sessions.create_async(PAGE)
        local.books.pay(made.id) if number % 2 else local.books.expire(made.id)
    return [each.event_id for each in local.courier.deliveries]


async def test_events_come_in_order_and_again_until_they_are_taken(local, api, shop):
    told = await happen(local, api)
    shop.answers = [503, 500]

    await local.courier.deliver()

    assert shop.taken == [told[2], told[0], told[1]]
    assert [each.statuses for each in local.courier.deliveries] == [[503, 200], [500, 200], [200]]
    assert local.courier.pending == []


async def test_events_that_nobody_takes_stay_pending(local, api, shop):
    await happen(local, api, times=1)
    shop.answers = [400] * 3

    await local.courier.deliver(rounds_max=3)

    assert len(local.courier.pending) == 1
    local.courier.url = "http://127.0.0.1:1/"
    assert await local.courier.send(local.courier.pending[0]) is None


async def test_events_come_shuffled_and_more_than_once_by_chance(local, api, shop):
    told = await happen(local, api, times=6)

    await local.courier.deliver(chance=random.Random(4), copies_max=3)

    assert set(shop.taken) == set(told)
    assert len(shop.taken) > len(told)
    assert list(dict.fromkeys(shop.taken)) != told


async def test_courier_at_work_brings_events_as_they_come(local, api, shop):
    shop.answers = [503]
    async with local.courier.at_work(again_seconds=0.01):
        told = await happen(local, api)
        await eventually(lambda: not local.courier.pending)

    assert set(shop.taken) == set(told)
