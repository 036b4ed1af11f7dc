"""Who gets in, and to what."""

from datetime import timedelta

import pytest

from holdfast.server.access import Action, make_key
from holdfast.server.auth import SESSION_COOKIE, session_of
from holdfast.testing.service import running_service


async def status_of(running, path: str, key: str | None = None, **headers: str) -> int:
    async with running.http(key) as http:
        answer = await http.get(path, headers=headers)
    status: int = answer.status_code
    return status


async def test_request_without_a_key_is_refused(running, harness):
    job_id = await harness.submit("greet", "ada")

    async with running.http() as http:
        answer = await http.get(f"/api/v1/jobs/{job_id}")

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_authenticated"


@pytest.mark.parametrize("key", ["hf_0000000000_00", "hf_x", "nonsense", "hfj_nonsense", "hf__"])
async def test_unknown_key_is_refused(running, harness, key):
    job_id = await harness.submit("greet", "ada")

    assert await status_of(running, f"/api/v1/jobs/{job_id}", key) == 401


async def test_key_with_another_secret_is_refused(running, harness):
    job_id = await harness.submit("greet", "ada")
    key = await running.key()

    assert await status_of(running, f"/api/v1/jobs/{job_id}", key) == 200
    assert await status_of(running, f"/api/v1/jobs/{job_id}", key[:-1] + "?") == 401


async def test_revoked_and_expired_keys_are_refused(running, harness):
    job_id = await harness.submit("greet", "ada")
    clock = running.service.clock
    old, kept = make_key(
        name="old", actions=[Action.READ], at=clock.now() - timedelta(days=2), lifetime=timedelta(days=1)
    )
    await running.service.records.insert_key(kept)
    revoked = await running.key()
    await running.service.records.revoke_key(revoked.rpartition("_")[0], clock.now())

    assert await status_of(running, f"/api/v1/jobs/{job_id}", old) == 401
    assert await status_of(running, f"/api/v1/jobs/{job_id}", revoked) == 401


async def test_key_reaches_only_its_tenant_and_kinds(running, harness):
    mine = await harness.submit("greet", "ada", tenant="mine")
    other = await harness.submit("greet", "ada", tenant="other")
    tenant_key = await running.key(tenant="mine")
    kind_key = await running.key(kinds=["report"])

    assert await status_of(running, f"/api/v1/jobs/{mine}", tenant_key) == 200
    assert await status_of(running, f"/api/v1/jobs/{other}", tenant_key) == 404
    assert await status_of(running, f"/api/v1/jobs/{mine}", kind_key) == 404


async def test_key_without_the_action_is_told_so(running, harness):
    job_id = await harness.submit("greet", "ada")

    async with running.http(await running.key(Action.SUBMIT)) as http:
        answer = await http.get(f"/api/v1/jobs/{job_id}")

    assert (answer.status_code, answer.json()["code"]) == (403, "access_denied")


async def test_job_token_opens_its_job_and_no_other(running, harness):
    job_id = await harness.submit("greet", "ada")
    other = await harness.submit("greet", "grace")
    token = running.service.tokens.for_job(job_id)

    assert await status_of(running, f"/api/v1/jobs/{job_id}", token) == 200
    assert await status_of(running, f"/api/v1/jobs/{job_id}?token={token}") == 200
    assert await status_of(running, f"/api/v1/jobs/{other}", token) == 404


async def test_session_ends_with_its_key(running, harness):
    job_id = await harness.submit("greet", "ada")
    key = await running.key()
    key_id = key.rpartition("_")[0]
    kept = await running.service.records.find_key(key_id)
    cookie = f"{SESSION_COOKIE}={session_of(running.service, kept, timedelta(hours=1))}"

    assert key not in cookie
    assert await status_of(running, f"/api/v1/jobs/{job_id}", cookie=cookie) == 200
    await running.service.records.revoke_key(key_id, running.service.clock.now())
    assert await status_of(running, f"/api/v1/jobs/{job_id}", cookie=cookie) == 401


async def test_open_access_is_for_this_machine_only(harness):
    """A web page whose name resolves to 127.0.0.1, or that calls from elsewhere, gets nothing."""
    job_id = await harness.submit("greet", "ada")
    async with running_service(harness, open_access=True) as running:
        path = f"/api/v1/jobs/{job_id}"

        assert await status_of(running, path) == 200
        assert await status_of(running, path, host="evil.example") == 401
        assert await status_of(running, path, origin="https://evil.example") == 401
        assert await status_of(running, path, origin="http://localhost:3000") == 200
        assert await status_of(running, path, **{"sec-fetch-site": "cross-site"}) == 401


@pytest.mark.parametrize(
    "header", ["x-forwarded-for", "forwarded", "x-real-ip", "via", "x-forwarded-proto"]
)
async def test_open_access_is_not_for_who_comes_through_a_proxy(harness, header):
    """Its requests come from this machine, and Host is the client's to choose."""
    job_id = await harness.submit("greet", "ada")
    async with running_service(harness, open_access=True) as running:
        path = f"/api/v1/jobs/{job_id}"

        assert await status_of(running, path, host="localhost", **{header: "127.0.0.1"}) == 401


@pytest.mark.parametrize("text", ["[", "http://[x", "http://", "null"])
async def test_names_that_cannot_be_read_are_nobodys(harness, text):
    job_id = await harness.submit("greet", "ada")
    async with running_service(harness, open_access=True) as running:
        assert await status_of(running, f"/api/v1/jobs/{job_id}", origin=text) == 401
        assert await status_of(running, "/console/jobs", origin=text) != 500


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:1", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_cookie_changes_nothing_for_a_page_of_another_site(running, harness, headers):
    """The browser sends it along; the page's own requests carry a key, or nothing."""
    job_id = await harness.submit("greet", "ada")
    kept = await running.service.records.find_key((await running.key()).rpartition("_")[0])
    cookie = f"{SESSION_COOKIE}={session_of(running.service, kept, timedelta(hours=1))}"
    path = f"/api/v1/jobs/{job_id}/cancel"

    async with running.http() as http:
        foreign = await http.post(path, headers={"cookie": cookie, **headers})
        own = await http.post(
            path, headers={"cookie": cookie, "origin": running.url, "sec-fetch-site": "same-origin"}
        )

    assert (foreign.status_code, own.status_code) == (403, 202)


async def test_key_in_a_url_is_refused(running, harness):
    """Proxies write URLs into their logs; what may stand there is good for one job and a few days."""
    job_id = await harness.submit("greet", "ada")
    key = await running.key()

    assert await status_of(running, f"/api/v1/jobs/{job_id}", key) == 200
    assert await status_of(running, f"/api/v1/jobs/{job_id}?token={key}") == 401
