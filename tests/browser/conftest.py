"""One Chromium for each pytest process; each test gets a browser profile of its own in it."""

import asyncio
import contextlib
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from holdfast.testing.servers.programs import find_program

STARTING_SECONDS = 30
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.requires("chromium"))
            item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(scope="session")
def chromium(requires) -> Iterator[str]:
    """The address at which a running Chromium can be driven."""
    requires("chromium")
    program = find_program("chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        running = subprocess.Popen(
            [str(program), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield f"http://127.0.0.1:{_port(Path(profile), running)}"
        finally:
            running.terminate()
            running.wait(10)


def _port(profile: Path, running: subprocess.Popen[bytes]) -> str:
    told, end = profile / "DevToolsActivePort", time.monotonic() + STARTING_SECONDS
    while time.monotonic() < end and running.poll() is None:
        with contextlib.suppress(FileNotFoundError, IndexError):
            return told.read_text().splitlines()[0]
        time.sleep(0.05)
    pytest.fail("Chromium did not start")


expect.set_options(timeout=15_000)


@pytest.fixture
async def browser(chromium) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(chromium)
        yield browser
        for context in browser.contexts[1:]:
            await context.close()
        await browser.close()


class Complaints(list[str]):
    """What a browser complains of: scripts that fail, content that the policy refuses."""

    def listen(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.append(f"{page.url}: {error}"))
        page.on("console", lambda said: self._hear(page, said))

    def _hear(self, page: Page, said: ConsoleMessage) -> None:
        # A server that is away is part of some tests, and so is a page that says what was refused.
        about_page = said.text.startswith("Failed to load resource") and said.location["url"] == page.url
        if said.type in {"error", "warning"} and "net::ERR_" not in said.text and not about_page:
            self.append(f"{page.url}: {said.text}")


@pytest.fixture
async def complaints() -> AsyncIterator[Complaints]:
    found = Complaints()
    yield found
    await asyncio.sleep(0)
    assert found == []


@pytest.fixture
async def context(browser: Browser, complaints: Complaints) -> BrowserContext:
    """A fresh profile; whatever its pages complain of fails the test."""
    context = await browser.new_context()
    context.set_default_timeout(15_000)
    context.on("page", complaints.listen)
    return context


@pytest.fixture
async def page(context: BrowserContext) -> Page:
    return await context.new_page()
