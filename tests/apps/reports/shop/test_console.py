"""Orders in the console over plain HTTP: who sees what, what the buttons do, and what is refused."""

import re
from urllib.parse import urlsplit

import pytest

from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.models import MailSort, OrderDetails
from holdfast.apps.reports.orders.overview import overview_of
from holdfast.errors import FatalError, MailRefusedError
from holdfast.server.access import Action
from holdfast.store.orders import Payment
from holdfast.testing.service import RunningService, running_service
from tests.apps.reports.conftest import report_request
from tests.apps.reports.orders.conftest import EMAIL, job_of, ordered, paid
from tests.server.test_console import Visitor, visitor

pytestmark = pytest.mark.usefixtures("quick_print", "no_wait")

PRODUCT = "personal_blueprint"
PERSONAL = (EMAIL, "Amélie", "1990-03-14", "Lisbon")
HOSTILE = """<script>alert('x')</script>"""
VERBS = ("retry", "resend", "refund", "note", "check")


@pytest.fixture
async def operator(running: RunningService) -> Visitor:
    return await visitor(running)


async def made(harness, shop) -> str:
    """Return an order whose report is ready."""
    order = await ordered(shop, PRODUCT)
    job_id = job_of(await paid(shop, order))
    await harness.start_worker()
    await harness.end_of(job_id)
    return order.order_id


# looking -----------------------------------------------------------------------------------------


async def test_list_tells_status_and_money_and_nothing_personal(harness, shop, operator):
    ready = await made(harness, shop)
    waiting = (await ordered(shop, "bundle")).order_id

    everything = await operator.text("/orders")
    narrowed = await operator.text("/orders?product=bundle&payment=awaited")

    for words in (ready, waiting, "Personal Blueprint", "payment awaited", "$39.99", "test mode"):
        assert words in everything
    assert ready not in narrowed
    assert waiting in narrowed
    assert 'class="empty"' in await operator.text("/orders?payment=refunded")
    for word in PERSONAL:
        assert word not in everything


async def test_empty_shop_says_so_and_its_pages_hold_no_inline_script(operator, shop):
    empty = await operator.text("/orders")
    page = await operator.text(f"/orders/{(await ordered(shop)).order_id}")

    assert "No orders yet." in empty
    for text in (empty, page):
        assert re.findall(r"<style|<script(?! src=)|\sstyle=|\son\w+=|javascript:", text) == []


async def test_older_orders_are_a_page_further(shop, operator, monkeypatch):
    monkeypatch.setattr("holdfast.apps.reports.shop.console.ORDERS_SHOWN", 1)
    older, newer = await ordered(shop), await ordered(shop)

    first = await operator.text("/orders")
    second = await operator.text(f"/orders?before={newer.order_id}")

    assert f"before={newer.order_id}" in first
    assert older.order_id not in first
    assert older.order_id in second


async def test_page_tells_payment_jobs_e_mails_and_who_the_customer_is(harness, shop, operator):
    order_id = await made(harness, shop)
    page = await overview_of(shop, await desk.require_order(shop, order_id))

    text = await operator.text(f"/orders/{order_id}")

    assert page.report is not None
    for words in (
        "Paid",
        "pi_test_",
        f"/jobs/{page.report.job_id}",
        "Confirmation",
        "Ready",
        "sent",
    ):
        assert words in text
    for word in PERSONAL:
        assert word in text


async def test_key_without_content_sees_no_customer_no_note_and_no_label(harness, shop, running):
    order_id = await made(harness, shop)
    await shop.orders.set_note(order_id, "called by Amélie")
    reader = await visitor(running, Action.READ)

    text = await reader.text(f"/orders/{order_id}")

    for word in PERSONAL:
        assert word not in text
    assert "hidden-content" in text
    assert 'class="actions"' not in text


async def test_order_is_found_by_address_and_by_ids_and_no_address_is_in_an_address(
    shop, running, operator
):
    order = await ordered(shop)
    token = await operator.token("/orders")

    async def found(sought: str) -> str:
        answer = await operator.post("/orders/find", token=token, sought=sought)
        assert answer.status_code == 303
        return str(answer.headers["location"])

    by_address = await found(EMAIL.upper())
    assert by_address == f"/console/orders?customer={order.subject}"
    assert order.order_id in await operator.text(by_address.removeprefix("/console"))
    for sought in (order.order_id, order.session_id):
        assert await found(str(sought)) == f"/console/orders/{order.order_id}"
    missed = await found("ord_unknown")
    assert "No order has this id" in await operator.text(missed.removeprefix("/console"))


async def test_hostile_name_and_note_stay_text(shop, operator):
    request = report_request(days=1)
    birth = request.birth.model_copy(update={"name": HOSTILE})
    details = OrderDetails(email=EMAIL, request=request.model_copy(update={"birth": birth}))
    order = (await desk.open_order(shop, PRODUCT, details)).order
    await shop.orders.set_note(order.order_id, HOSTILE)

    text = await operator.text(f"/orders/{order.order_id}")

    assert HOSTILE not in text
    assert text.count("&lt;script&gt;") >= 2


# helping on --------------------------------------------------------------------------------------


async def test_buttons_retry_write_again_note_and_flag(harness, shop, operator, desk_errors, postbox):
    desk_errors("section_01-12", FatalError("the stars are out"))
    order_id = await made(harness, shop)
    page = f"/orders/{order_id}"
    token = await operator.token(page)

    async def press(verb: str, **fields: str) -> str:
        answer = await operator.post(f"{page}/{verb}", token=token, **fields)
        assert answer.status_code == 303, answer.text
        location = urlsplit(answer.headers["location"])
        assert location.path == f"/console{page}"
        return str(await operator.text(f"{page}?{location.query}"))

    assert "Retry from where it failed" in await operator.text(page)
    assert "Made again" in await press("retry")
    order = await desk.require_order(shop, order_id)
    await harness.end_of(str(order.job_id))
    assert "Retry from where it failed" not in await operator.text(page)

    before = len(postbox.taken)
    assert "on its way" in await press("resend", sort="ready")
    [again] = [each for each in (await overview_of(shop, order)).letters if each.again]
    await harness.end_of(again.job_id)
    assert (again.sort, len(postbox.taken)) == (MailSort.READY, before + 1)

    assert "Note kept." in await press("note", note="called twice")
    assert "nothing new" in await press("check")
    assert "Flagged as given back" in await press("refund", note="for the delay")
    order = await desk.require_order(shop, order_id)
    assert (order.payment, order.note) == (Payment.REFUNDED, "for the delay")


async def test_check_takes_what_the_payment_service_could_not_tell(shop, operator, monkeypatch):
    order = await ordered(shop)
    page = f"/orders/{order.order_id}"

    async def look_up(_):
        from holdfast.store.orders import PaymentEvent, PaymentNews

        return PaymentEvent(event_id="evt_1", news=PaymentNews.PAID, order_id=order.order_id)

    monkeypatch.setattr(shop.payments, "look_up", look_up)
    answer = await operator.post(f"{page}/check", token=await operator.token(page))

    assert answer.headers["location"].endswith("?done=news")
    assert (await desk.require_order(shop, order.order_id)).payment is Payment.PAID


async def test_refused_e_mail_is_marked(harness, shop, operator, postbox):
    postbox.errors = [MailRefusedError("no such mailbox")] * 2

    text = await operator.text(f"/orders/{await made(harness, shop)}")

    assert text.count("undelivered") == 2
    assert "mail_refused" in text


async def test_what_cannot_be_done_is_said_on_a_page(shop, operator):
    page = f"/orders/{(await ordered(shop)).order_id}"
    token = await operator.token(page)

    answers = [
        await operator.post(f"{page}/{verb}", token=token, **fields)
        for verb, fields in (("retry", {}), ("resend", {"sort": "ready"}), ("refund", {}))
    ]
    wrong = await operator.post(f"{page}/resend", token=token, sort="poem")

    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert all(f'href="/console{page}"' in answer.text for answer in answers)
    assert wrong.status_code == 422
    unknown = await operator.get("/orders/ord_unknown")
    assert (unknown.status_code, "Not found" in unknown.text) == (404, True)


# guards ------------------------------------------------------------------------------------------


async def test_nobody_sees_or_does_anything_without_signing_in(shop, running):
    order = await ordered(shop)
    nobody = Visitor(running, "")

    for answer in (
        await nobody.get("/orders"),
        await nobody.get(f"/orders/{order.order_id}"),
        *[await nobody.post(f"/orders/{order.order_id}/{verb}") for verb in VERBS],
        await nobody.post("/orders/find", sought=EMAIL),
    ):
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/console/sign-in")


@pytest.mark.parametrize("verb", VERBS)
async def test_button_needs_the_permission_and_a_form_of_this_session(shop, running, verb):
    order = await ordered(shop)
    await paid(shop, order)
    page = f"/orders/{order.order_id}"
    reader = await visitor(running, Action.READ, Action.CONTENT)
    operator, other = await visitor(running), await visitor(running)
    fields = {"sort": "confirmation", "note": "x"}

    denied = await reader.post(f"{page}/{verb}", token=await reader.token(page), **fields)
    forged = await operator.post(f"{page}/{verb}", token=await other.token(page), **fields)
    foreign = await operator.post(
        f"{page}/{verb}",
        {"Origin": "https://elsewhere.example"},
        token=await operator.token(page),
        **fields,
    )

    assert [answer.status_code for answer in (denied, forged, foreign)] == [403, 403, 403]
    stored = await desk.require_order(shop, order.order_id)
    assert (stored.payment, stored.note) == (Payment.PAID, None)


@pytest.mark.parametrize("limits", [{"tenant": "acme"}, {"kinds": ["personal_horoscope"]}])
async def test_orders_do_not_exist_for_keys_of_one_tenant_or_of_other_kinds(shop, running, limits):
    order = await ordered(shop)
    limited = await visitor(running, **limits)

    for path in ("/orders", f"/orders/{order.order_id}"):
        assert (await limited.get(path)).status_code == 404
    answer = await limited.post(
        f"/orders/{order.order_id}/note", token=await limited.token("/jobs"), note="x"
    )
    assert answer.status_code == 404
    assert ">Orders</a>" not in await limited.text("/jobs")
    assert ">Orders</a>" in await (await visitor(running)).text("/jobs")


async def test_orders_do_not_exist_without_a_shop(harness):
    from holdfast.apps.reports.shop.routers import shop_routers

    async with running_service(harness, routers=shop_routers()) as running:
        operator = await visitor(running)

        assert (await operator.get("/orders")).status_code == 404
        assert ">Orders</a>" not in await operator.text("/jobs")
