"""Small parts of a soak."""

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.apps.reports.jobs import PRODUCTS
from holdfast.apps.reports.orders.models import ORDERS_QUEUE
from holdfast.testing.chaos.fleet import Life, Post
from holdfast.testing.soak.books import Phase, Way
from holdfast.testing.soak.load import People, mixed
from holdfast.testing.soak.options import Options, Shop, scene_of


def test_same_seed_brings_same_customers_and_no_two_are_alike():
    first, again = (mixed(People(7), 7, orders=100, seconds=60.0) for _ in range(2))

    assert first == again
    assert first != mixed(People(8), 8, orders=100, seconds=60.0)
    customers = [arrival.customer for arrival in first]
    assert len({customer.name for customer in customers}) == 100
    assert len({customer.email for customer in customers}) == 100
    assert all(0 <= arrival.at <= 60.0 for arrival in first)


@pytest.mark.parametrize("orders", [8, 20, 100])
def test_few_customers_come_for_everything_and_in_every_way(orders):
    customers = [arrival.customer for arrival in mixed(People(1), 1, orders=orders, seconds=9.0)]

    assert len(customers) == orders
    assert {customer.product for customer in customers} == {product.kind for product in PRODUCTS}
    assert {customer.way for customer in customers} == set(Way)
    assert {customer.phase for customer in customers} == {Phase.KILLS}


@pytest.mark.parametrize("workers", [1, 2, 4, 6])
def test_workers_serve_all_queues_and_only_who_serves_orders_knows_their_secrets(workers, tmp_path):
    shop = Shop(port=8000, stripe_url="http://127.0.0.1:1", smtp_url="smtp://127.0.0.1:2")

    scene = scene_of(Options(workers=workers), shop, tmp_path)
    scene.provider.journal.close()

    *fleet, service = scene.posts
    served = Counter(queue for post in fleet for queue in post.command[2].split(","))
    assert served.keys() == {*(product.queue for product in PRODUCTS), ORDERS_QUEUE, "holdfast.webhook"}
    assert "HOLDFAST_STRIPE_API_KEY" in service.environment
    for post in fleet:
        assert ("HOLDFAST_SECRET" in post.environment) == (ORDERS_QUEUE in post.command[2])
    assert "HOLDFAST_SECRET" not in scene.environment


def test_life_tells_how_long_it_took_to_start_up(tmp_path):
    began = time.monotonic() - 30.0
    life = Life(
        post=Post(name="service", command=("serve",)), number=1, log=tmp_path / "log", began=began
    )
    life.log.write_text("a warning of the interpreter\n")
    assert life.times() is None

    told = {"at": (datetime.now(UTC) - timedelta(seconds=20)).isoformat(), "event": "serving"}
    life.log.write_text(f"a warning of the interpreter\n{json.dumps(told)}\n")

    assert life.times() == pytest.approx((10.0, 20.0), abs=5.0)
