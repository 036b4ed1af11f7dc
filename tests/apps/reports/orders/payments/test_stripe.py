"""The official library, unchanged, against the local Stripe."""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.apps.reports.orders.payments.base import PageRequest
from holdfast.apps.reports.orders.payments.stripe import StripePayments
from holdfast.clock import SystemClock
from holdfast.errors import HoldfastError, InvalidInputError, OrderStateError, PaymentServiceError
from holdfast.store.orders import Order, PaymentNews
from holdfast.testing.stripe import API_KEY, WEBHOOK_SECRET, FaultKind, Method, StripeSimulator

ORDER = Order(
    order_id="order_1",
    product="life_clarity",
    amount_cents=1999,
    currency="usd",
    subject="customer_1",
    details=b"{}",
    created_at=SystemClock().now(),
)
EMAIL = "ada@example.org"
TOKEN = "hf-token-of-the-order"


def page_request(order=ORDER, *, email=EMAIL, **changes):
    return replace(
        PageRequest(
            order=order,
            title="Life Clarity " + "x" * 300,
            email=email,
            success_url=f"https://shop.example/orders/order_1?token={TOKEN}",
            cancel_url="https://shop.example/reports/life_clarity",
        ),
        **changes,
    )


@pytest.fixture
async def local() -> AsyncIterator[StripeSimulator]:
    async with StripeSimulator() as local:
        yield local


@pytest.fixture
async def payments(local: StripeSimulator) -> AsyncIterator[StripePayments]:
    payments = connect(local)
    yield payments
    await payments.close()


def connect(local, api_key=API_KEY, **options):
    return StripePayments(
        api_key, [WEBHOOK_SECRET], api_base=local.base_url, clock=SystemClock(), **options
    )


def order_of(page):
    return replace(ORDER, session_id=page.session_id)


async def test_page_says_who_what_and_for_how_much(local, payments):
    page = await payments.open_page(page_request())

    made = local.books.find(page.session_id)
    assert page.url == made.url
    assert (made.amount_cents, made.currency, made.email) == (1999, "usd", EMAIL)
    assert made.reference == "order_1"
    assert made.metadata == made.payment_metadata == {"order_id": "order_1"}
    assert TOKEN in made.success_url
    assert made.expires_at == int((ORDER.created_at + timedelta(hours=23)).timestamp())


async def test_same_order_has_one_page(local, payments):
    first = await payments.open_page(page_request())

    again = await payments.open_page(page_request())
    known = await payments.open_page(page_request(order_of(first)))

    assert first == again == known
    assert len(local.books.of_order("order_1")) == 1


async def test_nothing_is_told_of_this_machine(local, payments):
    for _ in range(2):
        await payments.check()

    assert "platform" not in local.headers[-1]["x-stripe-client-user-agent"]
    assert "x-stripe-client-telemetry" not in local.headers[-1]


async def test_page_asked_for_in_other_words_is_refused_and_not_made_twice(local, payments):
    await payments.open_page(page_request())

    with pytest.raises(PaymentServiceError, match="in other words"):
        await payments.open_page(page_request(success_url="https://shop.example/elsewhere"))

    assert len(local.books.purchases) == 1


@pytest.mark.parametrize("end", ["pay", "expire"])
async def test_page_that_is_over_is_not_opened_again(end, local, payments):
    page = await payments.open_page(page_request())
    getattr(local.books, end)(page.session_id)

    with pytest.raises(OrderStateError, match="cannot be paid any more"):
        await payments.open_page(page_request(order_of(page)))


# --- bad days ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        [FaultKind.UNAVAILABLE],
        [FaultKind.DROP, FaultKind.DROP],
        [FaultKind.CUT],
        [FaultKind.SERVER_ERROR],
    ],
)
async def test_trouble_is_passed_over_and_makes_one_page(faults, local, payments):
    """Also where the page was made and the answer lost, and where Stripe repeats its own failure."""
    local.faults.order(*faults)

    page = await payments.open_page(page_request())

    assert [made.session_id for made in local.books.of_order("order_1")] == [page.session_id]
    assert page == await payments.open_page(page_request())


async def test_stripe_that_only_fails_is_given_up_after_three_keys(local, payments):
    local.faults.order(*[FaultKind.SERVER_ERROR] * 20)

    with pytest.raises(PaymentServiceError, match="status 500"):
        await payments.open_page(page_request())

    keys = [headers["idempotency-key"] for headers in local.headers]
    assert list(dict.fromkeys(keys)) == ["order_1", "order_1/2", "order_1/3"]
    assert len(keys) == 9


async def test_stripe_that_does_not_answer_is_given_up(local):
    payments = connect(local, timeout_seconds=0.1)
    local.faults.order(*[FaultKind.HANG] * 3)

    with pytest.raises(PaymentServiceError, match="does not answer") as caught:
        await payments.open_page(page_request())

    assert caught.value.transient
    assert (local.faults.pending, len(local.requests)) == (0, 3)
    await payments.close()


async def test_stripe_that_is_not_there_is_told():
    async with StripeSimulator() as gone:
        payments = connect(gone)
    with pytest.raises(PaymentServiceError, match="does not answer"):
        await payments.check()
    await payments.close()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (FaultKind.FORBIDDEN, "does not allow Checkout Sessions"),
        (FaultKind.RATE_LIMIT, "status 429"),
    ],
)
async def test_refusals_say_what_to_do(fault, message, local, payments):
    local.faults.order(fault)

    with pytest.raises(PaymentServiceError, match=message):
        await payments.open_page(page_request())


async def test_refused_parameter_is_named(local, payments):
    old = replace(ORDER, created_at=ORDER.created_at - timedelta(hours=23))

    with pytest.raises(
        PaymentServiceError, match=r"400 \(no code, parameter 'expires_at', request req_"
    ):
        await payments.open_page(page_request(old))


async def test_neither_keys_nor_customers_are_told_by_errors_logs_and_reprs(local, payments, caplog):
    wrong = "sk_test_a_wrong_key_4711"
    caplog.set_level(logging.DEBUG)
    told = [repr(payments), repr(page_request()), repr(await payments.open_page(page_request()))]
    misspelt = page_request(replace(ORDER, order_id="order_2"), email="ada@nowhere")
    stranger = connect(local, wrong)

    for call, kind, message in (
        (payments.open_page(misspelt), InvalidInputError, "this e-mail address"),
        (stranger.open_page(page_request()), PaymentServiceError, "does not know our key"),
        (stranger.look_up(replace(ORDER, session_id="cs_1")), PaymentServiceError, "our key"),
        (payments.look_up(replace(ORDER, session_id="cs_1")), PaymentServiceError, "resource_missing"),
    ):
        with pytest.raises(HoldfastError, match=message) as caught:
            await call
        assert type(caught.value) is kind
        assert caught.value.__suppress_context__
        told.append(repr(caught.value))
    await stranger.close()

    for text in [*told, caplog.text]:
        for secret in (API_KEY, wrong, "4711", WEBHOOK_SECRET, EMAIL, "ada@", TOKEN):
            assert secret not in text


# --- what has become of it -----------------------------------------------------------------


async def test_looking_up_follows_a_payment_by_card(local, payments):
    page = await payments.open_page(page_request())
    order = order_of(page)

    assert await payments.look_up(ORDER) is None
    assert await payments.look_up(order) is None
    paid = local.books.pay(page.session_id)
    told = await payments.look_up(order)
    local.books.refund(paid.payment_id)
    refunded = await payments.look_up(order)

    assert (told.news, told.paid_cents, told.payment_id) == (PaymentNews.PAID, 1999, paid.payment_id)
    assert (refunded.news, refunded.refunded_cents) == (PaymentNews.REFUNDED, 1999)


@pytest.mark.parametrize(("succeeded", "news"), [(True, "paid"), (False, "failed")])
async def test_looking_up_follows_a_payment_by_bank(succeeded, news, local, payments):
    page = await payments.open_page(page_request())
    order = order_of(page)

    local.books.pay(page.session_id, Method.BANK)
    first = await payments.look_up(order)
    local.books.settle(page.session_id, succeeded=succeeded)
    then = await payments.look_up(order)

    assert (first.news, then.news) == (PaymentNews.PROCESSING, PaymentNews(news))


async def test_check_tells_whether_anybody_pays(local, payments):
    live = connect(local, "sk_live_x")

    assert await payments.check() == "Stripe, with a test key: nobody pays"
    with pytest.raises(PaymentServiceError, match="HOLDFAST_STRIPE_API_KEY"):
        await live.check()
    await live.close()
