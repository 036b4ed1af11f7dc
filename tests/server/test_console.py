"""The console over plain HTTP: who sees what, what is refused, and that names stay text."""

import asyncio
import contextlib
import html
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import httpx2
import pytest
from fastapi import FastAPI

from holdfast import Budget, FatalError, JobContext
from holdfast.errors import StoreUnavailableError
from holdfast.model import JobStatus
from holdfast.server import forms
from holdfast.server.access import Action
from holdfast.server.app import create_router
from holdfast.server.auth import SESSION_COOKIE, session_of
from holdfast.server.console.pages import PACKAGE
from holdfast.server.run import serve_api
from holdfast.server.service import Service
from holdfast.server.static_files import static_files
from holdfast.store.base import CallIntent, ClaimRequest, Settlement
from holdfast.testing.faults import Fault
from holdfast.testing.service import RunningService, running_service
from holdfast.testing.store_suite.support import worker

HOSTILE = """<script>alert('x')</script><img src=x onerror="alert(1)">"""
PAGES = ("/jobs", "/failures", "/queues", "/lanes", "/spend")
EVERYTHING = frozenset(Action)


class Visitor:
    """Looks at pages as a browser of somebody who has signed in does."""

    def __init__(self, running: RunningService, cookie: str) -> None:
        self.running = running
        self.cookie = cookie

    async def get(self, path: str, **headers: str):
        async with self.running.http() as http:
            return await http.get(f"/console{path}", headers={**self._cookie, **headers})

    async def text(self, path: str) -> str:
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    async def token(self, path: str = "/jobs") -> str:
        """Return the token that forms of this visitor's pages carry."""
        found = re.search(r'name="token" value="([^"]+)"', await self.text(path))
        assert found is not None
        return found[1]

    async def post(self, path: str, headers: dict[str, str] | None = None, /, **fields: str):
        async with self.running.http() as http:
            return await http.post(
                f"/console{path}", data=fields, headers={**self._cookie, **(headers or {})}
            )

    @property
    def _cookie(self) -> dict[str, str]:
        return {"Cookie": f"{SESSION_COOKIE}={self.cookie}"} if self.cookie else {}


async def visitor(running: RunningService, *actions: Action, **options) -> Visitor:
    """Sign somebody in with a key of their own."""
    key = await running.key(*actions, **options)
    kept = await running.service.records.find_key(key.rpartition("_")[0])
    assert kept is not None
    return Visitor(running, session_of(running.service, kept, timedelta(hours=1)))


async def fails(job: JobContext, words: str) -> None:
    def refuse() -> None:
        raise FatalError(words)

    await job.step(f"read/{words[:20]}", refuse)


@pytest.fixture
async def operator(running) -> Visitor:
    return await visitor(running)


@pytest.fixture
async def local(harness) -> AsyncIterator[Visitor]:
    """Somebody on this machine, where access is open."""
    async with running_service(harness, open_access=True) as running:
        yield Visitor(running, "")


# --- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
async def test_page_of_an_empty_store_says_so_and_is_locked_down(operator, path):
    answer = await operator.get(path)

    assert answer.status_code == 200
    assert 'class="empty"' in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", [*PAGES, ""])
async def test_nobody_sees_a_page_without_signing_in(running, path):
    answer = await Visitor(running, "").get(path)

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/console/sign-in?next=/console")


async def test_root_leads_to_the_console(operator):
    async with operator.running.http() as http:
        answer = await http.get("/")

    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    assert (await operator.get("")).headers["location"] == "/console/jobs"


async def test_pages_hold_no_inline_script_or_style(operator, harness):
    harness.job("fails", fails)
    await harness.start_worker()
    job_id = await harness.submit("fails", "words")
    await harness.end_of(job_id)

    for path in (*PAGES, f"/jobs/{job_id}", "/sign-in"):
        text = (await operator.get(path)).text
        assert re.findall(r"<style|<script(?! src=)|\sstyle=|\son\w+=|javascript:", text) == []


async def test_hostile_names_stay_text(operator, harness):
    harness.job("fails", fails)
    await harness.start_worker()
    job_id = await harness.submit("fails", HOSTILE, tenant=HOSTILE, subject=HOSTILE)
    await harness.end_of(job_id)
    queued = await harness.submit("greet", "ada", queue=HOSTILE)

    for path in (*PAGES, f"/jobs/{job_id}", f"/jobs/{queued}"):
        text = await operator.text(path)
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in await operator.text(f"/jobs/{job_id}")
    refused = await operator.get("/jobs/<script>alert(1)</script>")
    assert (refused.status_code, "<script>alert" in refused.text) == (404, False)
    filtered = await operator.get("/jobs?kind=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in filtered.text


async def test_jobs_are_filtered_and_paged(operator, harness, monkeypatch):
    monkeypatch.setattr("holdfast.server.console.routes.JOBS_SHOWN", 2)
    ids = [await harness.submit("greet", "ada", tenant=name) for name in ("a", "b", "b")]

    first = await operator.text("/jobs")
    assert (ids[2] in first, ids[1] in first, ids[0] in first) == (True, True, False)
    older = re.search(r'rel="next" href="/console([^"]+)"', first)
    assert older is not None
    second = await operator.text(html.unescape(older[1]))
    assert (ids[2] in second, ids[0] in second) == (False, True)

    def listed(text: str) -> list[str]:
        return [job_id for job_id in ids if f'id="{job_id}"' in text]

    assert listed(await operator.text("/jobs?tenant=a")) == [ids[0]]
    assert listed(await operator.text("/jobs?status=running")) == []
    assert listed(await operator.text("/jobs?kind=greet&status=queued&within=hour")) == ids[1:]
    assert listed(await operator.text("/jobs?kind=other")) == []


async def test_page_of_an_unknown_job_is_not_found(operator):
    answer = await operator.get("/jobs/job_unknown")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Not found" in answer.text


async def test_store_that_does_not_answer_is_told_on_a_page(local, harness):
    harness.faults.faults.append(Fault(verb="list_jobs", action=StoreUnavailableError("away")))

    answer = await local.get("/jobs")

    assert (answer.status_code, "did not work" in answer.text) == (503, True)


async def test_calls_possibly_paid_twice_are_marked(operator, harness):
    store = harness.real_store
    await harness.submit("greet", "ada")
    job_id = await harness.submit("greet", "grace")
    store.beat(worker("w1"), first=True)
    (claim,) = await store.claim_jobs(ClaimRequest(worker_id="w1", kinds=("greet",), job_id=job_id))
    intent = CallIntent(
        call_id="c",
        step_key="write/1",
        step_attempt=1,
        provider="p",
        model="large",
        reserved_tokens=100,
        reserved_usd=Decimal("0.75"),
    )
    await store.reserve_call(claim.lease, intent)
    await store.settle_attempt(claim.lease, Settlement(status=JobStatus.QUEUED))

    text = await operator.text(f"/jobs/{job_id}")

    assert "up to $0.7500 possibly paid twice" in text
    assert 'aria-label="Calls possibly paid twice"' in text


async def test_failures_are_grouped_by_what_was_behind_them(operator, harness):
    harness.job("fails", fails)
    await harness.start_worker()
    for words in ("one", "two"):
        await harness.end_of(await harness.submit("fails", words))

    text = await operator.text("/failures")

    assert re.search(r'class="number big">2</td>\s*<th scope="row"><a [^>]*>fails</a>', text)
    assert '<td class="mono">fatal</td>' in text
    assert '<td class="mono">read</td>' in text


async def test_static_files_are_kept_by_browsers_for_good(operator):
    page = await operator.text("/jobs")
    named = re.findall(r'(?:src|href)="/console(/static/[^"]+)"', page)

    assert {path.partition("?")[0].rpartition("/")[2] for path in named} == set(static_files(PACKAGE))
    for path in named:
        answer = await Visitor(operator.running, "").get(path)
        assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
    assert (await operator.get("/static/..%2froutes.py")).status_code == 404
    assert (await operator.get("/static/routes.py")).status_code == 404


# --- who sees what --------------------------------------------------------------------------------


async def test_tenant_sees_its_own_jobs_and_no_others(running, harness):
    mine = await harness.submit("greet", "ada", tenant="mine")
    other = await harness.submit("greet", "grace", tenant="other")
    tenant = await visitor(running, tenant="mine")
    token = await tenant.token()

    for path in ("/jobs", "/jobs?tenant=other", "/failures"):
        assert other not in await tenant.text(path)
    assert mine in await tenant.text("/jobs")
    assert (await tenant.get(f"/jobs/{other}")).status_code == 404
    for action in ("cancel", "retry", "fork", "budget", "signal"):
        answer = await tenant.post(f"/jobs/{other}/{action}", token=token, name="go", usd="1")
        assert (action, answer.status_code) == (action, 404)
    assert (await harness.store.get_job(other)).status is JobStatus.QUEUED


async def test_tenant_sees_its_own_spend_only(running, harness):
    tenant = await visitor(running, tenant="mine")

    assert "No model call ended" in await tenant.text("/spend")


async def test_key_for_kinds_sees_jobs_of_these_only(running, harness):
    harness.job("other", fails)
    greeting = await harness.submit("greet", "ada")
    other = await harness.submit("other", "x")
    narrow = await visitor(running, kinds=["greet"])

    text = await narrow.text("/jobs")

    assert (greeting in text, other in text) == (True, False)
    assert (await narrow.get(f"/jobs/{other}")).status_code == 404


@pytest.mark.parametrize("path", ["/queues", "/lanes", "/spend"])
async def test_pages_of_operators_are_refused_to_others(running, path):
    reader = await visitor(running, *(EVERYTHING - {Action.ADMIN}))

    answer = await reader.get(path)

    assert (answer.status_code, "access_denied" in answer.text) == (403, True)
    assert f'href="/console{path}"' not in answer.text


async def test_content_is_shown_only_with_the_permission(running, harness):
    harness.job("fails", fails)
    await harness.start_worker()
    job_id = await harness.submit("fails", "the secret words")
    await harness.end_of(job_id)

    with_it = await (await visitor(running, Action.READ, Action.CONTENT)).text(f"/jobs/{job_id}")
    without = await (await visitor(running, Action.READ, Action.CONTROL)).text(f"/jobs/{job_id}")

    assert with_it.count("the secret words") >= 2
    # Of what the input says, only the key of a step remains, which its author chose.
    assert re.sub(r"read/the secret words", "", without).count("secret") == 0
    assert "are hidden" in without


async def test_buttons_are_for_those_who_may(running, harness):
    job_id = await harness.submit("greet", "ada")
    reader = await visitor(running, Action.READ)

    text = await reader.text(f"/jobs/{job_id}")
    token = await reader.token()

    assert 'action="/console/jobs/' not in text
    for action in ("cancel", "retry", "fork", "budget", "signal"):
        assert (await reader.post(f"/jobs/{job_id}/{action}", token=token)).status_code == 403


async def test_token_for_one_job_opens_no_page(running, harness):
    job_id = await harness.submit("greet", "ada")
    token = running.service.tokens.for_job(job_id)

    assert (await Visitor(running, "").get(f"/jobs/{job_id}?token={token}")).status_code == 303
    assert (await Visitor(running, token).get(f"/jobs/{job_id}")).status_code == 303


async def test_session_ends_with_its_key(running, harness):
    key = await running.key()
    key_id = key.rpartition("_")[0]
    kept = await running.service.records.find_key(key_id)
    assert kept is not None
    someone = Visitor(running, session_of(running.service, kept, timedelta(hours=1)))
    assert (await someone.get("/jobs")).status_code == 200

    await running.service.records.revoke_key(key_id, running.service.clock.now())

    assert (await someone.get("/jobs")).status_code == 303


async def test_link_from_elsewhere_is_asked_again_by_a_page_of_our_own(running):
    """Browsers keep a strict cookie back on the first request, so nobody is sent to sign in for it."""
    nobody = Visitor(running, "")

    answer = await nobody.get("/jobs", **{"Sec-Fetch-Site": "cross-site"})
    again = await nobody.get("/jobs", **{"Sec-Fetch-Site": "same-origin"})

    assert (answer.status_code, again.status_code) == (200, 303)
    assert '<meta http-equiv="refresh" content="0">' in answer.text


async def test_links_follow_where_an_application_puts_the_console(harness):
    """Under a prefix, as in `include_router`, and under a mounted application."""
    async with mounted(harness) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        for place in ("/shop", "/mounted"):
            page = await http.get(f"{place}/console/jobs")

            assert page.status_code == 200
            links = re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text)
            assert links
            assert [link for link in links if not link.startswith(f"{place}/console/")] == []
            assert (await http.get(links[0])).status_code == 200


@contextlib.asynccontextmanager
async def mounted(harness) -> AsyncIterator[str]:
    async with running_service(harness, open_access=True) as running:

        @contextlib.asynccontextmanager
        async def opened() -> AsyncIterator[Service]:
            yield running.service

        shop, inner = FastAPI(), FastAPI()
        shop.include_router(create_router(opened), prefix="/shop")
        inner.include_router(create_router(opened))
        shop.mount("/mounted", inner)
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            serve_api(shop, host="127.0.0.1", port=0, stop=stop, on_ready=ready.set_result)
        )
        try:
            await asyncio.wait((serving, ready), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            yield f"http://127.0.0.1:{ready.result()}"
        finally:
            stop.set()
            await serving


# --- forms ---------------------------------------------------------------------------------------


async def test_form_without_the_token_of_its_session_changes_nothing(running, harness, operator):
    job_id = await harness.submit("greet", "ada")
    other = await visitor(running)

    for token in ("", "forged", await other.token()):
        answer = await operator.post(f"/jobs/{job_id}/cancel", token=token)
        assert answer.status_code == 403
    assert (await harness.store.get_job(job_id)).status is JobStatus.QUEUED


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_form_from_another_site_changes_nothing(harness, operator, headers):
    job_id = await harness.submit("greet", "ada")
    token = await operator.token()

    answer = await operator.post(f"/jobs/{job_id}/cancel", headers, token=token)

    assert answer.status_code == 403
    assert (await harness.store.get_job(job_id)).status is JobStatus.QUEUED


async def test_form_of_this_machine_needs_its_token_and_origin_too(harness, local):
    job_id = await harness.submit("greet", "ada")
    token = await local.token(f"/jobs/{job_id}")

    assert (await local.post(f"/jobs/{job_id}/cancel", token="")).status_code == 403
    foreign = {"Origin": "https://evil.example"}
    assert (await local.post(f"/jobs/{job_id}/cancel", foreign, token=token)).status_code == 303
    assert (await harness.store.get_job(job_id)).status is JobStatus.QUEUED
    own = {"Origin": local.running.url, "Sec-Fetch-Site": "same-origin"}
    answer = await local.post(f"/jobs/{job_id}/cancel", own, token=token)
    assert answer.headers["location"] == f"/console/jobs/{job_id}?done=cancel"
    assert (await harness.store.get_job(job_id)).status is JobStatus.CANCELLED


async def test_actions_do_what_they_say(harness, operator):
    job_id = await harness.submit("greet", "ada")
    token = await operator.token()

    await operator.post(f"/jobs/{job_id}/budget", token=token, usd="1,250.5", tokens="10")
    changed = (await harness.store.get_job(job_id)).budget
    await operator.post(f"/jobs/{job_id}/budget", token=token, usd="", tokens="")
    unlimited = (await harness.store.get_job(job_id)).budget
    await operator.post(f"/jobs/{job_id}/signal", token=token, name="go", payload='{"a": 1}')
    signal = await harness.event(job_id, "signal.received")
    forked = await operator.post(f"/jobs/{job_id}/fork", token=token, keep="1")
    await operator.post(f"/jobs/{job_id}/cancel", token=token)
    cancelled = await harness.store.get_job(job_id)
    await operator.post(f"/jobs/{job_id}/retry", token=token)
    retried = await harness.store.get_job(job_id)

    assert (changed, unlimited) == (Budget(usd="1250.5", tokens=10), Budget())
    assert signal.data == b'{"name":"go","payload":{"a":1}}'
    assert job_id not in forked.headers["location"]
    assert (cancelled.status, retried.status) == (JobStatus.CANCELLED, JobStatus.QUEUED)


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("budget", {"usd": "much"}),
        ("budget", {"usd": "-1"}),
        ("budget", {"usd": "NaN"}),
        ("budget", {"tokens": "1.5"}),
        ("signal", {"name": ""}),
        ("signal", {"name": "go", "payload": "{not json"}),
    ],
)
async def test_fields_that_make_no_sense_are_told_on_a_page(harness, operator, action, fields):
    job_id = await harness.submit("greet", "ada")

    answer = await operator.post(f"/jobs/{job_id}/{action}", token=await operator.token(), **fields)

    assert (answer.status_code, "invalid_input" in answer.text) == (422, True)
    assert f'href="/console/jobs/{job_id}"' in answer.text


async def test_retry_of_a_running_job_is_a_conflict(harness, operator):
    job_id = await harness.submit("greet", "ada")

    answer = await operator.post(f"/jobs/{job_id}/retry", token=await operator.token())

    assert answer.status_code == 409


async def test_large_or_odd_bodies_are_refused(harness, operator):
    job_id = await harness.submit("greet", "ada")
    token, path = await operator.token(), f"/jobs/{job_id}/signal"

    large = await operator.post(path, token=token, name="go", payload="x" * forms.FORM_BYTES_MAX)
    many = await operator.post(path, **{f"f{n}": "" for n in range(forms.FIELDS_MAX + 1)})
    json = await operator.post(path, {"Content-Type": "application/json"}, token=token)

    assert (large.status_code, many.status_code, json.status_code) == (413, 422, 422)


# --- signing in ----------------------------------------------------------------------------------


async def test_sign_in_gives_a_session_that_lasts_half_a_day(running):
    nobody = Visitor(running, "")

    answer = await nobody.post("/sign-in", key=await running.key(), next="/console/spend?by=model")

    cookie = answer.headers["set-cookie"]
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/spend?by=model")
    assert {"HttpOnly", "Max-Age=43200", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    signed_in = Visitor(running, cookie.partition("=")[2].partition(";")[0])
    assert (await signed_in.get("/jobs")).status_code == 200
    assert (await signed_in.get("/sign-in")).status_code == 303


async def test_session_behind_https_is_sent_over_https_only(harness):
    async with running_service(harness, public_url="https://jobs.example") as running:
        headers = {"Host": "jobs.example", "Origin": "https://jobs.example"}

        answer = await Visitor(running, "").post("/sign-in", headers, key=await running.key())

        assert "Secure" in answer.headers["set-cookie"].split("; ")


@pytest.mark.parametrize(
    "after",
    ["https://evil.example", "//evil.example", "/elsewhere", "/console/../x", "/console/\\x", ""],
)
async def test_sign_in_leads_nowhere_else(running, after):
    answer = await Visitor(running, "").post("/sign-in", key=await running.key(), next=after)

    assert answer.headers["location"] == "/console/jobs"


async def test_sign_in_from_another_site_is_refused(running):
    headers = {"Sec-Fetch-Site": "cross-site"}

    answer = await Visitor(running, "").post("/sign-in", headers, key=await running.key())

    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


async def test_eleventh_wrong_key_of_a_minute_is_not_looked_at(running):
    nobody, key = Visitor(running, ""), await running.key()

    answers = [(await nobody.post("/sign-in", key="hf_A_B")).status_code for _ in range(10)]
    refused = await nobody.post("/sign-in", key=key)

    assert (set(answers), refused.status_code) == ({403}, 429)
    assert "Too many tries" in refused.text
    assert "set-cookie" not in refused.headers


async def test_sign_out_takes_the_cookie_away(operator):
    assert (await operator.post("/sign-out", token="")).status_code == 403

    answer = await operator.post("/sign-out", token=await operator.token())

    told = set(answer.headers["set-cookie"].split("; "))
    assert {'holdfast_session=""', "HttpOnly", "Max-Age=0", "Path=/", "SameSite=strict"} <= told
