"""Orders over HTTP: how they are, and the files that came of them."""

import pytest

from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.payments.test_mode import PaymentAct
from holdfast.errors import FatalError
from holdfast.server.access import Action
from tests.apps.reports.orders.conftest import job_of, ordered, paid

pytestmark = pytest.mark.usefixtures("quick_print", "no_wait")


def path_of(order, rest: str = "") -> str:
    return f"/api/v1/orders/{order.order_id}{rest}"


@pytest.fixture
async def ready(harness, shop):
    """An order whose report is there."""
    order = await ordered(shop)
    taken = await paid(shop, order)
    await harness.start_worker()
    await harness.end_of(job_of(taken))
    return await desk.require_order(shop, order.order_id)


@pytest.fixture
def by_token(shop):
    return lambda order: {"Authorization": f"Bearer {shop.links.token(order.order_id)}"}


async def test_customer_sees_the_order_by_its_token(http, shop, by_token):
    order = await ordered(shop, "bundle")

    by_header = await http.get(path_of(order), headers=by_token(order))
    by_query = await http.get(path_of(order), params={"token": shop.links.token(order.order_id)})

    assert by_header.status_code == by_query.status_code == 200
    view = by_header.json()
    assert (view["status"], view["payment"], view["amount_cents"]) == (
        "pending_payment",
        "awaited",
        9999,
    )
    assert [part["status"] for part in view["parts"]] == ["pending_payment"] * 3


async def test_nobody_is_told_whether_a_foreign_order_exists(http, running, shop, by_token):
    mine, other = await ordered(shop), await ordered(shop)
    job_token = running.service.tokens.for_job("job_01JDZ8Q7V3T5N9W2X4Y6Z8A0BC")

    wrong = [
        (await http.get(path_of(other, rest), headers=headers)).json() | {"detail": "", "details": {}}
        for rest in ("", "/stream", "/files/life_clarity")
        for headers in (by_token(mine), {"Authorization": "Bearer nonsense"})
    ]
    missing = (await http.get("/api/v1/orders/ord_none", headers=by_token(mine))).json()
    by_query = await http.get(path_of(other), params={"token": "nonsense"})
    by_job = await http.get(path_of(other), headers={"Authorization": f"Bearer {job_token}"})

    assert all(answer == missing | {"detail": "", "details": {}} for answer in wrong)
    assert (missing["status"], missing["code"]) == (404, "order_not_found")
    assert by_query.status_code == 404
    assert by_job.status_code == 403


async def test_operators_see_orders_by_their_keys(running, shop):
    order = await ordered(shop)
    reads, contents = await running.key(Action.READ), await running.key(Action.CONTENT)
    tenant = await running.key(tenant="acme")

    async def status(key, rest=""):
        async with running.http(key) as http:
            return (await http.get(path_of(order, rest))).status_code

    assert await status(reads) == 200
    assert await status(contents) == 403
    assert await status(tenant) == 404
    assert await status(None) == 401
    assert await status(reads, "/files/life_clarity") == 403
    assert await status(contents, "/files/life_clarity") == 404


async def test_polls_are_told_when_to_come_again_until_the_end(http, shop, ready, by_token):
    fresh = await ordered(shop)

    waiting = await http.get(path_of(fresh), headers=by_token(fresh))
    same = await http.get(
        path_of(fresh), headers=by_token(fresh) | {"If-None-Match": waiting.headers["etag"]}
    )
    ended = await http.get(path_of(ready), headers=by_token(ready))

    assert waiting.headers["retry-after"] == "2"
    assert (same.status_code, same.headers["retry-after"], same.content) == (304, "2", b"")
    assert ended.json()["status"] == "ready"
    assert "retry-after" not in ended.headers


async def test_report_is_downloaded_whole_and_in_parts(http, ready, by_token):
    path = path_of(ready, "/files/life_clarity")

    whole = await http.get(path, headers=by_token(ready))
    part = await http.get(path, headers=by_token(ready) | {"Range": "bytes=2-5"})
    known = await http.get(path, headers=by_token(ready) | {"If-None-Match": whole.headers["etag"]})
    beyond = await http.get(path, headers=by_token(ready) | {"Range": "bytes=99999999-"})

    assert whole.status_code == 200
    disposition = whole.headers["content-disposition"]
    assert disposition.startswith('inline; filename="life-clarity.pdf"')
    assert whole.headers["content-type"] == "application/pdf"
    assert (part.status_code, part.content) == (206, whole.content[2:6])
    assert known.status_code == 304
    assert beyond.status_code == 416


async def test_report_is_not_there_before_it_is_ready_nor_after_a_refund(
    http, shop, ready, by_token, tell
):
    unpaid = await ordered(shop)
    early = await http.get(path_of(unpaid, "/files/life_clarity"), headers=by_token(unpaid))
    foreign = await http.get(path_of(ready, "/files/personal_blueprint"), headers=by_token(ready))
    await tell(ready, PaymentAct.REFUND)
    late = await http.get(path_of(ready, "/files/life_clarity"), headers=by_token(ready))
    view = (await http.get(path_of(ready), headers=by_token(ready))).json()

    for answer in (early, foreign, late):
        assert (answer.status_code, answer.json()["code"]) == (404, "order_file_not_found")
    assert (view["status"], view["payment"]) == ("refunded", "refunded")


async def test_failed_report_is_told_as_such_and_goes_on_when_retried(
    http, harness, shop, by_token, desk_errors
):
    desk_errors("identity", FatalError("the provider refuses"))
    order = await ordered(shop)
    taken = await paid(shop, order)
    await harness.start_worker()
    await harness.end_of(job_of(taken))

    failed = (await http.get(path_of(order), headers=by_token(order))).json()
    await desk.retry_order(shop, order.order_id)
    await harness.end_of(job_of(taken))
    mended = (await http.get(path_of(order), headers=by_token(order))).json()

    assert (failed["status"], mended["status"]) == ("failed", "ready")
