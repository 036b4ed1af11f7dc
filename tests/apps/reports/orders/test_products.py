"""Each product from its checkout to the mailbox: without Stripe, and all real but the model's words."""

from __future__ import annotations

import email
import io
from email import policy
from pathlib import Path

import pikepdf
import pytest

from holdfast.apps.reports.jobs import PRODUCTS
from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.fulfilment import register_orders
from holdfast.apps.reports.orders.mail.outbox import OutboxMailer
from holdfast.apps.reports.orders.models import OrderStatus
from holdfast.apps.reports.orders.parts import parts_of
from holdfast.apps.reports.orders.payments.test_mode import PaymentAct
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.orders.state import status_of
from holdfast.model import JobStatus
from holdfast.testing.harness import Harness
from tests.apps.reports.orders.conftest import EMAIL, Postbox, job_of, make_shop, ordered, told

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
async def shop(harness: Harness, outbox: Path) -> Shop:
    mailer = OutboxMailer(outbox, Postbox().sender, harness.clock)
    made = make_shop(harness.real_store.orders, harness.client, mailer, harness.clock)
    register_orders(harness.registry)
    harness.services.resources[Shop] = made
    return made


@pytest.mark.parametrize("kind", [product.kind for product in PRODUCTS])
async def test_product_is_sold_made_and_delivered(kind, harness, shop, outbox):
    order = await ordered(shop, kind)
    await harness.start_worker()

    taken = await told(shop, order, PaymentAct.PAY)
    # Not `harness.end_of`: typesetting on a busy machine outlasts its patience.
    job = await harness.client.wait(job_of(taken))

    assert job.status is JobStatus.COMPLETED
    order = await desk.require_order(shop, order.order_id)
    assert await status_of(shop, order) is OrderStatus.READY
    parts = await parts_of(shop.client, order)
    for part in parts:
        assert part.result is not None
        content = await harness.artifacts.get_bytes(part.result.sha256)
        with pikepdf.open(io.BytesIO(content)) as pdf:
            assert len(pdf.pages) == part.result.pages > 1
    confirmation, ready = mails_in(outbox)
    assert confirmation["To"] == ready["To"] == EMAIL
    assert confirmation["Subject"].startswith("[Test] Your order")
    assert ready["Subject"].startswith("[Test] Ready")
    text = ready.get_body(("plain",)).get_content()
    for part in parts:
        assert f"/orders/{order.order_id}/files/{part.product.kind}?token=" in text


def mails_in(outbox: Path):
    """Return the e-mails, the confirmation before the announcement, as their subjects sort backwards."""
    found = [
        email.message_from_bytes(path.read_bytes(), policy=policy.default)
        for path in outbox.glob("*.eml")
    ]
    return sorted(found, key=lambda mail: str(mail["Subject"]), reverse=True)
