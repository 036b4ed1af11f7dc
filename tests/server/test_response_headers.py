"""What every answer carries, and which web pages may read it."""

import pytest

from holdfast.errors import ConfigError
from holdfast.settings import Settings
from holdfast.testing.service import running_service

JOBS = "/api/v1/jobs"


@pytest.mark.parametrize("path", [JOBS, f"{JOBS}/job_0", "/nothing", "/openapi.json"])
async def test_every_answer_is_guarded(http, path):
    headers = (await http.get(path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in headers
    assert "server" not in headers


async def test_https_is_asked_for_only_where_there_is_https(harness):
    async with (
        running_service(harness, public_url="https://jobs.example") as running,
        running.http() as http,
    ):
        secure = (await http.get(JOBS)).headers

    assert secure["strict-transport-security"] == "max-age=31536000"


async def test_request_that_came_by_https_through_a_proxy_is_told_to_stay_there(http):
    answer = await http.get(JOBS, headers={"X-Forwarded-Proto": "https"})

    assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_unknown_place_and_method_are_problems(http):
    place = await http.get("/api/v1/nothing")
    method = await http.patch(JOBS)

    assert (place.status_code, place.json()["code"]) == (404, "request")
    assert (method.status_code, method.headers["content-type"]) == (405, "application/problem+json")
    assert "GET" in method.headers["allow"] or "POST" in method.headers["allow"]


# --- web pages of others -------------------------------------------------------------------------

ASKS_FIRST = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
}


async def test_no_page_may_read_anything_by_default(http):
    answer = await http.get(JOBS, headers={"Origin": "https://shop.example"})
    preflight = await http.options(JOBS, headers={"Origin": "https://shop.example", **ASKS_FIRST})

    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in preflight.headers


async def test_only_pages_that_are_named_may_call(harness):
    async with (
        running_service(harness, cors_origins=("https://shop.example",)) as running,
        running.http(await running.key()) as http,
    ):
        named = await http.options(JOBS, headers={"Origin": "https://shop.example", **ASKS_FIRST})
        other = await http.options(JOBS, headers={"Origin": "https://evil.example", **ASKS_FIRST})
        answer = await http.get(JOBS, headers={"Origin": "https://shop.example"})

    assert (named.status_code, other.status_code) == (200, 400)
    assert named.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in other.headers
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-credentials" not in answer.headers
    assert "Location" in answer.headers["access-control-expose-headers"]


async def test_page_that_may_call_can_read_why_it_was_refused(harness):
    async with (
        running_service(
            harness, cors_origins=("https://shop.example",), requests_per_minute=1, body_bytes_max=1024
        ) as running,
        running.http(await running.key()) as http,
    ):
        http.headers["Origin"] = "https://shop.example"
        large = await http.post(JOBS, content=b"a" * 2_000)
        often = await http.get(JOBS)

    assert (large.status_code, often.status_code) == (413, 429)
    for answer in (large, often):
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_all_pages_may_call_only_where_access_is_open():
    everywhere = Settings(cors_origins="*", host="0.0.0.0")
    here = Settings(cors_origins="*", host="127.0.0.1")

    with pytest.raises(ConfigError, match="every web page"):
        _ = everywhere.cors_origin_list
    assert here.cors_origin_list == ("*",)
