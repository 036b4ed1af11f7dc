"""An order's stream: told as it changes, without loss or repetition, by whatever server."""

import asyncio
import contextlib
from urllib.parse import urlsplit

import pytest

from holdfast.apps.reports.orders.payments.test_mode import PaymentAct
from holdfast.apps.reports.shop import following
from holdfast.apps.reports.shop.throttles import ORDER_STREAMS_MAX
from holdfast.testing.signals import eventually
from holdfast.testing.sse import blocks
from tests.apps.reports.orders.conftest import job_of, ordered, paid
from tests.apps.reports.shop.conftest import served

pytestmark = pytest.mark.usefixtures("quick_print", "no_wait")


@pytest.fixture(autouse=True)
def quick_pace(monkeypatch):
    monkeypatch.setattr(following, "PACE_SECONDS", 0.01)


@contextlib.asynccontextmanager
async def streamed(http, shop, order, last: str | None = None):
    """Open the stream of an order and give its blocks."""
    headers = {"Authorization": f"Bearer {shop.links.token(order.order_id)}"}
    if last is not None:
        headers["Last-Event-ID"] = last
    path = f"/api/v1/orders/{order.order_id}/stream"
    async with http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield blocks(answer.aiter_lines())


async def statuses(stream) -> list[str]:
    """Return the statuses told until the stream ends, each once."""
    found: list[str] = []
    async for block in stream:
        if block.event == "order" and block.data["status"] not in found[-1:]:
            found.append(block.data["status"])
    return found


async def test_order_is_told_from_the_payment_to_the_end(harness, http, shop, tell):
    order = await ordered(shop)
    async with streamed(http, shop, order) as stream:
        first = [await anext(stream), await anext(stream)]
        await tell(order, PaymentAct.PAY)
        paid_view = await anext(stream)
        await harness.start_worker()
        rest = await statuses(stream)

    assert first[0].retry == 1000
    assert first[1].data["status"] == "pending_payment"
    assert (paid_view.data["status"], paid_view.data["payment"]) == ("paid", "paid")
    assert rest[-1] == "ready"
    assert "amelie" not in str(first)


async def test_client_that_comes_back_is_told_nothing_twice(harness, http, shop):
    order = await ordered(shop)
    async with streamed(http, shop, order) as stream:
        known = [block async for block in _first(stream, 2)][-1].id
    taken = await paid(shop, order)
    async with streamed(http, shop, order, last=known) as stream:
        [_, after] = [block async for block in _first(stream, 2)]
    await harness.start_worker()
    await harness.end_of(job_of(taken))
    async with streamed(http, shop, order, last=after.id) as stream:
        ended = [block async for block in stream]
    async with streamed(http, shop, order, last=ended[1].id) as stream:
        nothing_new = [block async for block in stream]

    assert after.data["status"] == "paid"
    assert [block.event for block in ended[1:]] == ["order", "end"]
    assert [block.event for block in nothing_new[1:]] == ["end"]


async def _first(stream, count: int):
    for _ in range(count):
        yield await anext(stream)


async def test_another_server_goes_on_where_one_has_ended(harness, shop):
    order = await ordered(shop)
    async with served(harness, shop) as running, running.http() as http:
        port = urlsplit(running.url).port
        async with streamed(http, shop, order) as stream:
            known = [block async for block in _first(stream, 2)][-1].id
            running.service.closing.set()
            assert [block async for block in stream] == []
    await paid(shop, order)
    async with (
        served(harness, shop, port=port) as running,
        running.http() as http,
        streamed(http, shop, order, last=known) as stream,
    ):
        [_, view] = [block async for block in _first(stream, 2)]

    assert view.data["status"] == "paid"


async def test_stream_shows_that_it_lives(harness, shop):
    order = await ordered(shop)
    async with (
        served(harness, shop, heartbeat_seconds=0.05) as running,
        running.http() as http,
        streamed(http, shop, order) as stream,
    ):
        told = [block async for block in _first(stream, 4)]

    assert [block.comment for block in told] == [None, None, "still here", "still here"]


async def test_streams_are_counted_by_order_and_unpaid_ones_by_address(http, running, shop):
    first, second = await ordered(shop), await ordered(shop)
    sold = await ordered(shop)
    await paid(shop, sold)
    headers = {"Authorization": f"Bearer {shop.links.token(second.order_id)}"}
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(ORDER_STREAMS_MAX):
            await stack.enter_async_context(streamed(http, shop, first))
        refused = await http.get(f"/api/v1/orders/{second.order_id}/stream", headers=headers)
        await stack.enter_async_context(streamed(http, shop, sold))

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    await eventually(lambda: not running.service.store.hints.topics & {first.order_id, sold.order_id})


async def test_order_that_is_erased_ends_its_stream(harness, http, shop):
    order = await ordered(shop)
    async with streamed(http, shop, order) as stream:
        [_, _] = [block async for block in _first(stream, 2)]
        await shop.orders.erase_orders(order.subject)
        harness.store.hints.publish(order.order_id)
        async with asyncio.timeout(10):
            assert [block async for block in stream] == []
