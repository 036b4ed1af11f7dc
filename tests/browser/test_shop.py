"""The shop in a real browser: from the form to the PDF, with and without JavaScript."""

import contextlib
from collections.abc import AsyncIterator
from importlib import import_module
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from holdfast.apps.reports.orders import desk as orders_desk
from holdfast.apps.reports.orders.fulfilment import register_orders
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.requests import report_request
from holdfast.apps.reports.shop.rendering import texts
from holdfast.apps.reports.shop.routers import shop_routers
from holdfast.errors import FatalError
from holdfast.testing.service import RunningService, running_service
from tests.apps.reports.conftest import (
    desk,
    facts,
    harness,
    llm,
    no_wait,
    quick_print,
    quick_sky,
)
from tests.apps.reports.orders.conftest import ordered, paid
from tests.server.shop import shop_resources

__all__ = ["desk", "facts", "harness", "llm", "no_wait", "quick_print", "quick_sky"]

pytestmark = pytest.mark.usefixtures("quick_print", "no_wait")

SAID = texts()["order"]


@pytest.fixture(scope="session", autouse=True)
def warm() -> None:
    """Load the Agents SDK and the places, which takes seconds, before a test has to wait for it."""
    import_module("holdfast.llm.agents")
    for place in ("Lisbon", "Springfield, Illinois, United States"):
        report_request(name="Amélie", born="1990-03-14", place=place, start="2026-05-20")


@contextlib.asynccontextmanager
async def served(harness, port: int = 0) -> AsyncIterator[RunningService]:
    resources = harness.services.resources
    if Shop not in resources:
        resources.update(shop_resources(harness))
        register_orders(harness.registry)
    async with running_service(
        harness, port=port, routers=shop_routers(), resources=resources
    ) as running:
        yield running


@pytest.fixture
async def running(harness) -> AsyncIterator[RunningService]:
    async with served(harness) as running:
        yield running


async def order(page: Page, url: str, product: str = "life_clarity") -> None:
    """Fill the form, and stand on the payment page."""
    await page.goto(f"{url}/reports")
    await page.locator(f'a[href$="/reports/{product}"]').click()
    await page.get_by_label("Name").fill("Amélie Hartmann")
    await page.get_by_label("Date of birth").fill("1990-03-14")
    await page.get_by_label("Time of birth").fill("07:25")
    await page.get_by_label("Place of birth").fill("Lisbon")
    await page.get_by_label("E-mail").fill("amelie@customers.example")
    await page.get_by_role("button", name="Continue to payment").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("trying things out")


async def pay(page: Page, url: str, product: str = "life_clarity") -> None:
    await order(page, url, product)
    await page.get_by_role("button", name="Pay $").click()


async def says(page: Page, state: str) -> None:
    await expect(page.get_by_role("heading", level=1)).to_have_text(SAID[state]["title"], timeout=40_000)


async def test_person_orders_pays_watches_and_downloads(harness, running, page, desk):
    desk.held = "identity"
    await pay(page, running.url)
    await says(page, "paid")
    await page.evaluate("window.sameAsBefore = true")
    await harness.start_worker()
    await says(page, "generating")
    await expect(page.locator(".told")).to_contain_text("left")

    desk.release.set()

    await says(page, "ready")
    await expect(page.locator("#announcer")).to_have_text(SAID["ready"]["title"])
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Download PDF").click()
    assert (await downloading.value).suggested_filename == "life-clarity.pdf"
    assert await page.evaluate("window.sameAsBefore === true")


async def test_everything_works_without_javascript(harness, running, browser):
    context = await browser.new_context(java_script_enabled=False)
    context.set_default_timeout(15_000)
    page = await context.new_page()
    await pay(page, running.url)
    await says(page, "paid")

    await harness.start_worker()

    # By nothing but the page's own refresh.
    await says(page, "ready")
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Download PDF").click()
    assert (await downloading.value).suggested_filename == "life-clarity.pdf"


async def test_wrong_form_says_where_and_what_and_loses_nothing(running, page):
    await page.goto(f"{running.url}/reports/life_clarity")
    await page.get_by_label("Name").fill("Amélie Hartmann")
    await page.get_by_label("Place of birth").fill("Springfield")
    await page.get_by_label("Date of birth").fill("1990-03-14")
    await page.get_by_label("E-mail").fill("amelie")
    await page.get_by_role("button").click()

    await expect(page.get_by_role("alert")).to_contain_text("2 things need another look.")
    await page.get_by_role("alert").get_by_role("link", name="E-mail").click()
    await expect(page.get_by_label("E-mail")).to_be_focused()
    await page.get_by_label("E-mail").fill("amelie@customers.example")
    await page.get_by_label("I do not know the time").check()
    await page.get_by_role("button").click()

    await page.get_by_label("Springfield, Illinois").check()
    assert await page.get_by_label("Name").input_value() == "Amélie Hartmann"
    await page.get_by_role("button").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("trying things out")


async def test_slow_bank_is_played_to_either_end(running, page):
    await order(page, running.url)
    await page.get_by_role("button", name="slow bank").click()
    await page.get_by_role("link", name="To the order").click()
    await says(page, "processing")
    await page.get_by_role("link", name="Play the bank").click()
    await page.get_by_role("button", name="refuses").click()
    await says(page, "payment_failed")
    await page.get_by_role("link", name="Order again").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Life Clarity")

    await order(page, running.url)
    await page.get_by_role("button", name="Cancel").click()
    await says(page, "expired")


async def test_page_goes_on_when_the_server_comes_back(harness, page, desk):
    desk.held = "identity"
    async with served(harness) as running:
        await pay(page, running.url)
        await harness.start_worker()
        await says(page, "generating")
        await page.evaluate("window.sameAsBefore = true")
        port = urlsplit(running.url).port
        assert port is not None

    await expect(page.locator("#connection")).to_be_visible()
    desk.release.set()
    async with served(harness, port):
        await says(page, "ready")
        await expect(page.locator("#connection")).to_be_hidden()
        assert await page.evaluate("window.sameAsBefore === true")


async def test_failure_is_told_kindly_and_a_retry_seen_live(harness, running, page, desk):
    desk.errors["identity"] = [FatalError("the stars are out")]
    shop = harness.services.resources[Shop]
    small = await ordered(shop, "bundle")
    await paid(shop, small)
    await page.goto(f"{running.url}/orders/{small.order_id}?token={shop.links.token(small.order_id)}")
    await harness.start_worker()
    await says(page, "partly_failed")
    await expect(page.get_by_role("link", name="Download PDF")).to_have_count(2)

    await orders_desk.retry_order(shop, small.order_id)
    await page.evaluate("dispatchEvent(new Event('online'))")

    await says(page, "ready")
    await expect(page.get_by_role("link", name="Download PDF")).to_have_count(3)


async def test_axe_finds_nothing_and_pages_fit_on_a_phone(harness, running, page):
    await page.set_viewport_size({"width": 375, "height": 740})
    found: list[str] = []

    async def look(name: str) -> None:
        over = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        found.extend([f"{name}: {over} px too wide"] if over > 0 else [])
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            results = await Axe().run(page, options={"resultTypes": ["violations"]})
            found.extend(
                f"{name} {scheme}: {violation['id']}: {node['html'][:120]}"
                for violation in results.response["violations"]
                for node in violation["nodes"][:3]
            )

    await page.goto(f"{running.url}/reports")
    await look("catalogue")
    await page.goto(f"{running.url}/reports/personal_blueprint")
    await page.get_by_label("Place of birth").fill("Springfield")
    await page.get_by_role("button").click()
    await look("form")
    await page.goto(f"{running.url}/orders/none?token=none")
    await look("missing")
    await order(page, running.url)
    await look("payment")
    await page.get_by_role("button", name="Pay $").click()
    await says(page, "paid")
    await look("paid")
    await harness.start_worker()
    await says(page, "ready")
    await look("ready")
    assert found == []
