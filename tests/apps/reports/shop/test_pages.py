"""The customers' pages, as HTML: what stands where, and who may see it."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.requests import Request

from holdfast.apps.reports.jobs import PRODUCTS
from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.payments.test_mode import PaymentAct
from holdfast.apps.reports.shop.rendering import own_address, texts, time_words
from holdfast.errors import FatalError, PaymentServiceError, StoreUnavailableError
from holdfast.store.orders import Payment, PaymentEvent, PaymentNews
from tests.apps.reports.orders.conftest import job_of, ordered, paid

pytestmark = pytest.mark.usefixtures("quick_print", "no_wait")

FORM = {
    "name": "Amélie Hartmann",
    "born": "1990-03-14",
    "time": "07:25",
    "place": "Lisbon",
    "email": "amelie@customers.example",
    "nonce": "form_1",
}


def page_of(shop, order, rest: str = "") -> str:
    return f"/orders/{order.order_id}{rest}?token={shop.links.token(order.order_id)}"


async def test_catalogue_tells_products_prices_and_times(http):
    page = (await http.get("/reports")).text

    for product in PRODUCTS:
        assert product.title in page
        assert f"/reports/{product.kind}" in page
    for told in ("$19.99", "$99.99", "about 30 seconds", "about 3 minutes", "Test mode"):
        assert told in page


async def test_form_leads_to_the_payment_and_orders_once(http, shop):
    answers = [await http.post("/reports/life_clarity", data=FORM) for _ in range(2)]

    for answer in answers:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/pay/cs_test_")
    assert answers[0].headers["location"] == answers[1].headers["location"]
    corrected = await http.post("/reports/life_clarity", data=FORM | {"time": "07:26"})
    assert corrected.headers["location"] != answers[0].headers["location"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"born": "tomorrow"}, "born"),
        ({"born": "1990-02-31"}, "born"),
        ({"born": "2190-02-01"}, "born"),
        ({"time": ""}, "time"),
        ({"place": ""}, "place"),
        ({"place": "Springfield"}, "place"),
        ({"email": "amelie"}, "email"),
    ],
)
async def test_form_tells_what_to_type_instead_and_loses_nothing(running, changed, field):
    async with running.http() as http:
        answer = await http.post("/reports/life_clarity", data=FORM | changed)

    page = answer.text
    assert answer.status_code == 422
    assert f'id="{field}-wrong"' in page
    assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', page)
    for name, value in (FORM | changed).items():
        assert f'name="{name}"' in page
        assert f'value="{value}"' in page or not value


async def test_ambiguous_place_is_chosen_from_what_it_may_mean(running):
    async with running.http() as http:
        asked = (await http.post("/reports/life_clarity", data=FORM | {"place": "Springfield"})).text
        choice = {"place": "Springfield", "choice": "Springfield, Illinois, United States"}
        chosen = await http.post("/reports/life_clarity", data=FORM | choice)

    assert f'value="{choice["choice"]}"' in asked
    assert chosen.status_code == 303


async def test_form_survives_a_payment_service_that_is_away(running, shop, monkeypatch):
    async def refuse(request):
        raise PaymentServiceError("no answer")

    monkeypatch.setattr(shop.payments, "open_page", refuse)
    async with running.http() as http:
        answer = await http.post("/reports/life_clarity", data=FORM)

    assert answer.status_code == 503
    assert texts()["wrong"]["payment"] in answer.text
    assert 'value="Lisbon"' in answer.text


async def test_form_of_another_site_is_refused(http):
    answer = await http.post(
        "/reports/life_clarity", data=FORM, headers={"Sec-Fetch-Site": "cross-site"}
    )

    assert answer.status_code == 403


async def test_every_page_keeps_itself_to_itself(http, shop):
    order = await ordered(shop)
    for path in ("/reports", "/reports/bundle", page_of(shop, order), "/orders/none?token=x"):
        answer = await http.get(path)
        policy = answer.headers["content-security-policy"]

        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        places = re.findall(r'(?:src|href|action)="([^"]*)"', answer.text)
        assert all(place.startswith(("/", "#", "mailto:")) for place in places)
    assert (await http.get(page_of(shop, order))).headers["referrer-policy"] == "no-referrer"


async def test_live_shop_lets_its_form_lead_to_the_payment_service(running, shop, monkeypatch):
    object.__setattr__(shop, "mode", "live")
    async with running.http() as http:
        page = await http.get("/reports/bundle")
        pay = await http.get("/pay/cs_test_1")

    assert "form-action 'self' https:;" in page.headers["content-security-policy"]
    assert "Test mode" not in page.text
    assert pay.status_code == 404


async def test_order_page_opens_by_its_own_token_only(http, shop):
    mine, other = await ordered(shop), await ordered(shop)

    found = await http.get(page_of(shop, mine))
    foreign = await http.get(f"/orders/{other.order_id}?token={shop.links.token(mine.order_id)}")
    bare = await http.get(f"/orders/{other.order_id}")
    missing = await http.get("/orders/ord_none?token=x")

    assert found.status_code == 200
    assert {foreign.status_code, bare.status_code, missing.status_code} == {404}
    assert len({foreign.text, bare.text, missing.text}) == 1


@pytest.mark.parametrize(
    ("acts", "told"),
    [
        ([], "pending_payment"),
        ([PaymentAct.PAY_LATER], "processing"),
        ([PaymentAct.PAY_LATER, PaymentAct.REFUSE], "payment_failed"),
        ([PaymentAct.LEAVE], "expired"),
        ([PaymentAct.PAY], "paid"),
        ([PaymentAct.PAY, PaymentAct.REFUND], "refunded"),
    ],
)
async def test_order_page_tells_what_the_payment_has_come_to(http, shop, tell, acts, told):
    order = await ordered(shop)
    for act in acts:
        await tell(order, act)

    answer = await http.get(page_of(shop, order))

    assert texts()["order"][told]["title"] in answer.text
    assert answer.headers["retry-after"] in {"2", "60"}
    assert f'content="{answer.headers["retry-after"]}"' in answer.text


async def test_order_page_leads_from_the_payment_to_the_file(http, harness, shop):
    order = await ordered(shop)
    page = (await http.get(page_of(shop, order))).text
    to_pay = await http.get(page_of(shop, order, "/pay"))
    pay_page = await http.get(to_pay.headers["location"])
    token = parse_qs(urlsplit(to_pay.headers["location"]).query)["token"][0]
    back = await http.post(
        urlsplit(to_pay.headers["location"]).path, data={"token": token, "act": "pay"}
    )
    await harness.start_worker()
    await harness.end_of((await desk.require_order(shop, order.order_id)).job_id)
    ready = (await http.get(back.headers["location"])).text
    link = re.search(r'href="([^"]*/files/life_clarity[^"]*)" download', ready)

    assert "/pay?token=" in page
    assert "Nobody pays anything" in pay_page.text
    assert back.headers["location"].startswith(f"/orders/{order.order_id}?token=")
    assert link is not None
    file = await http.get(link[1])
    assert (file.status_code, file.headers["content-type"]) == (200, "application/pdf")
    assert file.headers["referrer-policy"] == "no-referrer"


async def test_part_of_a_bundle_that_failed_is_told_beside_what_is_ready(
    http, harness, shop, desk_errors
):
    desk_errors("identity", FatalError("the stars are out"))
    order = await ordered(shop, "bundle")
    taken = await paid(shop, order)
    await harness.start_worker()
    await harness.end_of(job_of(taken))

    page = (await http.get(page_of(shop, order))).text

    assert texts()["order"]["partly_failed"]["title"] in page
    assert page.count("Download PDF") == 2
    assert texts()["part"]["failed"] in page


async def test_customer_who_is_back_before_the_webhook_has_the_payment_looked_up(
    http, shop, monkeypatch
):
    order, asked = await ordered(shop), []

    async def look_up(about):
        asked.append(about.order_id)
        if len(asked) == 1:
            raise PaymentServiceError("busy")
        return PaymentEvent(event_id="evt_1", news=PaymentNews.PAID, order_id=about.order_id)

    monkeypatch.setattr(shop.payments, "look_up", look_up)
    first = await http.get(page_of(shop, order))
    again = await http.get(page_of(shop, order))

    assert asked == [order.order_id]
    for page in (first, again):
        assert texts()["order"]["pending_payment"]["title"] in page.text
    assert (await desk.require_order(shop, order.order_id)).payment is Payment.AWAITED


async def test_pay_page_wants_the_token_of_its_address(http, shop):
    order = await ordered(shop)
    path = f"/pay/{order.session_id}"

    bare = await http.get(path)
    forged = await http.post(path, data={"token": "x", "act": "pay"})

    assert (bare.status_code, forged.status_code) == (404, 404)
    assert (await desk.require_order(shop, order.order_id)).payment is Payment.AWAITED


async def test_page_says_so_when_the_store_is_away(http, shop, monkeypatch):
    order = await ordered(shop)

    async def away(order_id):
        raise StoreUnavailableError("database 10.0.0.9 is away")

    monkeypatch.setattr(shop.orders, "find_order", away)
    answer = await http.get(page_of(shop, order))

    assert answer.status_code == 503
    assert texts()["error"]["busy"] in answer.text
    assert "10.0.0.9" not in answer.text


async def test_unknown_product_and_file_are_pages_too(http):
    for path in ("/reports/tea", "/reports/static/tea.css"):
        answer = await http.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "a few seconds"), (38, "40 seconds"), (360, "6 minutes"), (9000, "2.5 hours")],
)
def test_times_are_told_in_whole_words(seconds, words):
    assert time_words(seconds) == words


def test_addresses_elsewhere_stay_whole(running_request):
    assert own_address(running_request, "https://pay.example/x") == "https://pay.example/x"
    assert own_address(running_request, "https://reports.example/x?y") == "/shop/x?y"
    assert own_address(running_request, "https://reports.example.evil/x").startswith("https://")


@pytest.fixture
def running_request():
    class _Route:
        path = "/reports"

    class _Options:
        public_url = "https://reports.example"

    class _Service:
        options = _Options()

    scope = {
        "type": "http",
        "path": "/shop/reports",
        "route": _Route(),
        "state": {"holdfast": _Service()},
    }
    return Request(scope)
