"""The console in a real browser: what people see, and that it stays true."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from holdfast import Budget, JobContext
from holdfast.model import JobStatus
from holdfast.server.access import Action
from holdfast.testing.harness import Harness
from holdfast.testing.service import RunningService, running_service
from tests.browser.demo import demo

PATHS = ("/jobs", "/failures", "/queues", "/lanes", "/spend", "/spend?by=model&period=week")
NOTHING = ("/jobs?kind=none", "/jobs/job_none", "/sign-in")


class Gate:
    """Lets a job go on one tenth at a time."""

    def __init__(self) -> None:
        self._permits = asyncio.Semaphore(0)

    async def count(self, job: JobContext) -> str:
        for tenth in range(1, 11):
            await self._permits.acquire()
            job.report_progress(tenth, 10, f"tenth {tenth}")
        return await job.step("end", lambda: "ended")

    def let(self, tenths: int) -> None:
        for _ in range(tenths):
            self._permits.release()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def harness(tmp_path, gate) -> AsyncIterator[Harness]:
    async with Harness(tmp_path) as harness:
        harness.job("count", gate.count)
        yield harness


@pytest.fixture
async def running(harness) -> AsyncIterator[RunningService]:
    async with running_service(harness, open_access=True) as running:
        yield running


async def has_not_been_reloaded(page) -> bool:
    return bool(await page.evaluate("window.sameAsBefore === true"))


async def remember(page) -> None:
    """Leave a mark that a reload would wipe out."""
    await page.evaluate("window.sameAsBefore = true")


async def test_person_signs_in_with_a_key_and_out_again(harness, page):
    async with running_service(harness) as running:
        job_id = await harness.submit("count")
        await page.goto(f"{running.url}/console/jobs/{job_id}")
        await expect(page).to_have_title("Sign in · Holdfast")

        await page.get_by_label("API key").fill("hf_WRONG_KEY")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("unknown, expired or revoked")

        await page.get_by_label("API key").fill(await running.key())
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("count")
        (cookie,) = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")

        await page.get_by_role("button", name="Sign out").click()
        await page.goto(f"{running.url}/console/jobs")
        await expect(page).to_have_title("Sign in · Holdfast")


async def test_link_from_elsewhere_leads_into_the_session(harness, page):
    async with running_service(harness) as running:
        job_id = await harness.submit("count")
        await page.goto(f"{running.url}/console/jobs")
        await page.get_by_label("API key").fill(await running.key())
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")

        await page.goto(f"data:text/html,<a href='{running.url}/console/jobs/{job_id}'>alert</a>")
        await page.get_by_text("alert").click()

        await expect(page.get_by_role("heading", level=1)).to_have_text("count")


async def test_progress_comes_without_a_reload_and_leaves_the_reader_alone(harness, running, gate, page):
    await harness.start_worker()
    job_id = await harness.submit("count")
    gate.let(3)
    await page.goto(f"{running.url}/console/jobs/{job_id}")
    await expect(page.locator(".figure").first).to_contain_text("30 %")
    await remember(page)
    await page.get_by_text("Raise budget…").click()
    await page.get_by_label("US dollars").fill("12.5")

    gate.let(2)

    await expect(page.locator(".figure").first).to_contain_text("50 %")
    assert await page.get_by_label("US dollars").input_value() == "12.5"
    await expect(page.get_by_label("US dollars")).to_be_focused()
    gate.let(5)
    await expect(page.locator(".title .badge")).to_contain_text("completed")
    await expect(page).to_have_title("count completed · Holdfast")
    assert await has_not_been_reloaded(page)


async def test_list_follows_new_jobs_and_their_progress(harness, running, gate, page):
    await harness.start_worker()
    await page.goto(f"{running.url}/console/jobs")
    await expect(page.get_by_text("No jobs yet")).to_be_visible()
    await remember(page)

    gate.let(4)
    await harness.submit("count")

    await expect(page.locator("table")).to_contain_text("40 %")
    gate.let(6)
    await expect(page.locator("table")).to_contain_text("completed")
    assert await has_not_been_reloaded(page)


async def test_page_tells_of_a_cut_connection_and_catches_up(harness, running, gate, page, context):
    await harness.start_worker()
    job_id = await harness.submit("count")
    gate.let(1)
    await page.goto(f"{running.url}/console/jobs/{job_id}")
    await expect(page.locator(".figure").first).to_contain_text("10 %")
    await remember(page)

    await context.set_offline(True)
    await expect(page.locator("#connection")).to_contain_text("Connection lost")
    gate.let(7)
    await harness.event(job_id, "progress", number=2)
    await context.set_offline(False)

    await expect(page.locator(".figure").first).to_contain_text("80 %")
    await expect(page.locator("#connection")).to_have_text("Live")
    assert await has_not_been_reloaded(page)


async def test_page_goes_on_when_the_server_comes_back(harness, gate, page):
    await harness.start_worker()
    job_id = await harness.submit("count")
    gate.let(2)
    async with running_service(harness, open_access=True) as running:
        await page.goto(f"{running.url}/console/jobs/{job_id}")
        await expect(page.locator(".figure").first).to_contain_text("20 %")
        await remember(page)
        port = urlsplit(running.url).port
        assert port is not None

    await expect(page.locator("#connection")).to_contain_text("Connection lost")
    gate.let(8)
    await harness.end_of(job_id)

    async with running_service(harness, port=port, open_access=True):
        await expect(page.locator(".title .badge")).to_contain_text("completed")
        assert await has_not_been_reloaded(page)


async def test_job_is_cancelled_and_retried_from_its_page(harness, running, gate, page):
    await harness.start_worker()
    job_id = await harness.submit("count")
    await harness.until(job_id, JobStatus.RUNNING)
    await page.goto(f"{running.url}/console/jobs/{job_id}")

    await page.get_by_text("Cancel…").click()
    await page.get_by_role("button", name="Cancel this job").click()

    await expect(page.locator(".notice")).to_have_text("Cancel requested.")
    await expect(page.locator(".title .badge")).to_contain_text("cancelled")
    gate.let(10)
    await page.get_by_text("Retry…").click()
    await page.get_by_role("button", name="Retry this job").click()
    await expect(page.locator(".title .badge")).to_contain_text("completed")


async def test_job_is_forked_from_its_page(harness, running, gate, page):
    await harness.start_worker()
    gate.let(20)
    job_id = await harness.submit("count")
    await harness.end_of(job_id)
    await page.goto(f"{running.url}/console/jobs/{job_id}")

    await page.get_by_text("Fork…").click()
    await page.get_by_role("button", name="Queue a copy").click()

    await expect(page.locator(".notice")).to_have_text("This is the copy.")
    assert job_id not in page.url
    await expect(page.locator(".title .badge")).to_contain_text("completed")


async def test_raised_budget_lets_a_waiting_job_go_on(tmp_path, page):
    async with demo(tmp_path) as (harness, running):
        await harness.start_worker()
        job_id = await harness.submit("city", "Bergen", budget=Budget(usd="0.01"))
        await harness.until(job_id, JobStatus.SUSPENDED)
        await page.goto(f"{running.url}/console/jobs/{job_id}")
        await expect(page.locator(".title .badge")).to_contain_text("waits for budget")

        await page.get_by_label("US dollars").fill("20")
        await page.get_by_role("button", name="Set budget").click()

        await expect(page.locator(".notice")).to_have_text("Budget changed.")
        await expect(page.locator(".title .badge")).to_contain_text("completed")
        await expect(page.locator("#h-money + *, #h-money ~ .figure").last).to_contain_text("of $20.00")


async def test_signal_from_the_page_wakes_the_job(tmp_path, page):
    async with demo(tmp_path) as (harness, running):
        await harness.start_worker()
        job_id = await harness.submit("approval", 7)
        await harness.until(job_id, JobStatus.SUSPENDED)
        await page.goto(f"{running.url}/console/jobs/{job_id}")

        await page.get_by_text("Send signal…").click()
        await page.get_by_label("Name").fill("approved")
        await page.get_by_label("Payload, JSON").fill('"yes"')
        await page.get_by_role("button", name="Send", exact=True).click()

        await expect(page.locator(".title .badge")).to_contain_text("completed")
        await page.get_by_text("Output", exact=True).click()
        await expect(page.locator("#d-output pre")).to_have_text('"yes"')


async def test_streamed_text_is_seen_while_it_is_written(tmp_path, page):
    async with demo(tmp_path) as (harness, running):
        await harness.start_worker()
        job_id = await harness.submit("letter", "the pilot")
        await page.goto(f"{running.url}/console/jobs/{job_id}")

        written = page.locator(".writing")
        await expect(written).to_contain_text("The tide took the boats")
        before = len(await written.inner_text())

        await page.wait_for_function(
            "before => document.querySelector('.writing').textContent.length > before", arg=before
        )


async def test_key_without_the_permission_sees_no_content_and_no_buttons(harness, page):
    harness.job("secretive", secretive)
    await harness.start_worker()
    job_id = await harness.submit("secretive", "the input is a secret")
    await harness.end_of(job_id)
    async with running_service(harness) as running:
        await page.goto(f"{running.url}/console/jobs/{job_id}")
        await page.get_by_label("API key").fill(await running.key(Action.READ))
        await page.get_by_role("button", name="Sign in").click()

        await expect(page.get_by_text("Input, output, events and files are hidden")).to_be_visible()
        assert "secret is told" not in await page.content()
        assert "the input is a secret" not in await page.content()
        assert await page.get_by_role("button").all_inner_texts() == ["Sign out"]
        assert await page.get_by_role("navigation").first.inner_text() == "Jobs\nFailures"


async def secretive(job: JobContext, words: str) -> str:
    job.report_progress(1, 2, "a secret is told by the label")
    await job.step("tell", lambda: "a secret is told by a step")
    raise ValueError("a secret is told by an error")


@pytest.fixture
async def lively(tmp_path) -> AsyncIterator[tuple[str, list[str]]]:
    """A console with something on every page, and the pages to look at."""
    async with demo(tmp_path) as (harness, running):
        await harness.start_worker()
        waiting = await harness.submit("essay", "kelp", budget=Budget(usd="0.01"))
        failed = await harness.submit("parse", "scan.docx", tenant="archive")
        family = await harness.submit("guide", ["Bergen", "Brest"])
        writing = await harness.submit("letter", "the pilot")
        await harness.until(waiting, JobStatus.SUSPENDED)
        await harness.end_of(failed)
        await harness.end_of(family)
        await harness.event(writing, "output.delta")
        jobs = [f"/jobs/{job_id}" for job_id in (waiting, failed, family, writing)]
        yield f"{running.url}/console", [*PATHS, *NOTHING, *jobs]


async def test_axe_finds_nothing_on_any_page_in_either_scheme(lively, page):
    url, paths = lively
    found = []
    for path in paths:
        await page.goto(url + path)
        await page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        # The schemes differ in colours only.
        for scheme, only in (("light", None), ("dark", ["color-contrast"])):
            await page.emulate_media(color_scheme=scheme)
            options = {"resultTypes": ["violations"], **({"runOnly": only} if only else {})}
            results = await Axe().run(page, options=options)
            found += [
                f"{path} {scheme}: {violation['id']} ({violation['impact']}): {node['html'][:120]}"
                for violation in results.response["violations"]
                for node in violation["nodes"][:3]
            ]

    assert found == []


async def test_pages_fit_on_a_phone(lively, browser):
    url, paths = lively
    context = await browser.new_context(viewport={"width": 375, "height": 667}, has_touch=True)
    page = await context.new_page()
    too_wide = []
    for path in paths:
        await page.goto(url + path)
        over = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if over > 0:
            too_wide.append((path, over))

    assert too_wide == []


async def test_keyboard_reaches_content_first_and_actions_next(harness, running, page):
    job_id = await harness.submit("count")
    await page.goto(f"{running.url}/console/jobs/{job_id}")

    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    for _ in range(3):
        await page.keyboard.press("Tab")

    await expect(page.locator("#act-budget summary")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("US dollars")).to_be_focused()
