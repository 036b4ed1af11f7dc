"""Orders in the console, in a real browser: found and helped on by keyboard, without a fault by axe."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from holdfast import FatalError, JobContext
from holdfast.apps.reports.astro import BirthData
from holdfast.apps.reports.models import ReportRequest, ReportResult
from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.fulfilment import register_orders
from holdfast.apps.reports.orders.links import Links
from holdfast.apps.reports.orders.mail.base import parse_sender
from holdfast.apps.reports.orders.mail.outbox import OutboxMailer
from holdfast.apps.reports.orders.models import OrderDetails
from holdfast.apps.reports.orders.payments.test_mode import TestPayments
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.shop.console import router
from holdfast.apps.reports.terms import load_terms
from holdfast.server.tokens import Tokens
from holdfast.store.orders import Payment, PaymentEvent, PaymentNews
from holdfast.testing.harness import Harness
from holdfast.testing.service import SECRETS, RunningService, running_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EMAIL = "ada@customers.example"
URL = "https://reports.example"


class Maker:
    """Makes reports, but for the first one."""

    made = 0

    async def make(self, job: JobContext, request: ReportRequest) -> ReportResult:
        self.made += 1
        if self.made == 1:
            raise FatalError("the stars are out")
        pdf = await job.save_artifact("report.pdf", b"%PDF-1.7")
        return ReportResult(
            artifact=pdf.name,
            sha256=pdf.sha256,
            size_bytes=pdf.size_bytes,
            pages=20,
            answers=4,
            batches=1,
        )


@pytest.fixture
async def harness(tmp_path) -> AsyncIterator[Harness]:
    async with Harness(tmp_path) as harness:
        harness.job("life_clarity", Maker().make)
        register_orders(harness.registry)
        yield harness


@pytest.fixture
def shop(harness, tmp_path) -> Shop:
    sender = parse_sender("Acme Reports <reports@acme.example>")
    made = Shop(
        mode="test",
        orders=harness.real_store.orders,
        client=harness.client,
        terms=load_terms(),
        payments=TestPayments(SECRETS, URL, harness.clock),
        mailer=OutboxMailer(tmp_path / "outbox", sender, harness.clock),
        links=Links(URL, Tokens(SECRETS, harness.clock), harness.clock),
        clock=harness.clock,
    )
    harness.services.resources[Shop] = made
    return made


@pytest.fixture
async def running(harness, shop) -> AsyncIterator[RunningService]:
    async with running_service(
        harness, open_access=True, routers=[router], resources={Shop: shop}
    ) as running:
        yield running


@pytest.fixture
async def failed(harness, shop) -> str:
    """The id of an order whose report could not be made."""
    birth = BirthData(name="Ada Lovelace", birth_date=date(1815, 12, 10), place="Marylebone")
    request = ReportRequest(birth=birth, start=date(2026, 5, 20))
    order = (
        await desk.open_order(shop, "life_clarity", OrderDetails(email=EMAIL, request=request))
    ).order
    event = PaymentEvent(event_id="evt_1", news=PaymentNews.PAID, order_id=order.order_id)
    taken = await desk.take_event(shop, event)
    assert taken.job is not None
    await harness.start_worker()
    await harness.end_of(taken.job.job_id)
    return order.order_id


async def test_order_is_found_and_helped_on_by_keyboard(shop, running, failed, page):
    await page.goto(f"{running.url}/console/jobs")
    await page.get_by_role("link", name="Orders").focus()
    await page.keyboard.press("Enter")
    await page.get_by_label("E-mail, or id of an order").focus()
    await page.keyboard.type(EMAIL)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Orders of one customer")).to_be_visible()
    assert EMAIL not in page.url

    await page.get_by_role("link", name="Life Clarity").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".title .badge").first).to_have_text("✕ failed")
    await page.get_by_role("button", name="Retry from where it failed").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Made again; what is finished stays.")).to_be_visible()
    await expect(page.locator(".title .badge").first).to_have_text("✓ ready")

    await page.locator("#act-refund summary").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.type("for the delay")
    await page.keyboard.press("Enter")
    await expect(page.locator(".title .badge").first).to_have_text("⊘ refunded")
    order = await desk.require_order(shop, failed)
    assert (order.payment, order.note) == (Payment.REFUNDED, "for the delay")


async def test_axe_finds_nothing_on_orders_and_they_fit_on_a_phone(running, failed, page):
    found = []
    for path in ("/orders", "/orders?payment=expired", f"/orders/{failed}"):
        await page.set_viewport_size({"width": 375, "height": 667})
        await page.goto(f"{running.url}/console{path}")
        await page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        over = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if over > 0:
            found.append(f"{path} is {over} pixels too wide")
        await page.set_viewport_size({"width": 1280, "height": 800})
        for scheme, only in (("light", None), ("dark", ["color-contrast"])):
            await page.emulate_media(color_scheme=scheme)
            options = {"resultTypes": ["violations"], **({"runOnly": only} if only else {})}
            results = await Axe().run(page, options=options)
            found += [
                f"{path} {scheme}: {violation['id']}: {node['html'][:120]}"
                for violation in results.response["violations"]
                for node in violation["nodes"][:3]
            ]

    assert found == []
