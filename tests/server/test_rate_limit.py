"""Callers that ask too often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.server.good_keys import GOOD_KEYS_MAX, GoodKeys
from holdfast.server.rate_limit import CALLERS_MAX, SlidingWindows, network_of
from holdfast.testing.clock import ManualClock
from holdfast.testing.harness import Harness
from holdfast.testing.service import running_service
from tests.server.conftest import greet

JOBS = "/api/v1/jobs"


@pytest.fixture
async def harness(tmp_path):
    async with Harness(tmp_path, clock=ManualClock()) as harness:
        harness.job("greet", greet)
        yield harness


async def test_caller_that_asks_too_often_is_told_when_to_come_back(harness):
    async with (
        running_service(harness, requests_per_minute=3) as running,
        running.http(await running.key()) as http,
    ):
        await http.get(JOBS)  # the first one of a key counts for its address
        answers = [await http.get(JOBS) for _ in range(4)]
        refused = answers[-1]
        harness.clock.advance(float(refused.headers["retry-after"]))
        after = await http.get(JOBS)

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert refused.headers["ratelimit-limit"] == "3"
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "too_many_requests"
    assert after.status_code == 200


async def test_keys_do_not_share_and_made_up_ones_get_nothing_of_their_own(harness):
    async with running_service(harness, requests_per_minute=3) as running:
        statuses = {}
        for name in ("one", "two"):
            async with running.http(await running.key()) as http:
                await http.get(JOBS)
                statuses[name] = [(await http.get(JOBS)).status_code for _ in range(4)]
        made_up = []
        for number in range(4):
            async with running.http(f"hf_000000000{number}_x") as http:
                made_up.append((await http.get(JOBS)).status_code)

    assert statuses == {"one": [200, 200, 200, 429], "two": [200, 200, 200, 429]}
    # Two of the address's three went to the first requests of the good keys.
    assert made_up == [401, 429, 429, 429]


async def test_health_is_always_told(harness):
    async with running_service(harness, requests_per_minute=1) as running, running.http() as http:
        answers = [await http.get("/health/live") for _ in range(3)]

    assert 429 not in {answer.status_code for answer in answers}


# --- the window by itself ------------------------------------------------------------------------


def test_allowance_comes_back_bit_by_bit():
    windows = SlidingWindows(10)
    assert all(windows.take("a", 30.0).passes for _ in range(10))

    assert not windows.take("a", 59.0).passes
    # A quarter of the next minute: three quarters of the ten still count.
    assert [windows.take("a", 75.0).passes for _ in range(3)] == [True, True, False]


@given(
    limit=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 40, allow_nan=False), min_size=1, max_size=300),
)
def test_no_minute_of_the_clock_sees_more_than_allowed_and_waiting_as_told_helps(limit, gaps):
    windows, at, passed = SlidingWindows(limit), 1_000.0, []
    for gap in gaps:
        at += gap
        verdict = windows.take("a", at)
        if verdict.passes:
            passed.append(at)
            assert 0 <= verdict.remaining < limit
        else:
            at += verdict.reset_seconds
            assert windows.take("a", at).passes
            passed.append(at)

    for minute in {at // 60 for at in passed}:
        assert sum(at // 60 == minute for at in passed) <= limit


def test_callers_that_are_remembered_are_bounded():
    windows, keys = SlidingWindows(1), GoodKeys()
    for number in range(CALLERS_MAX + 10):
        windows.take(f"caller {number}", 0.0)
        keys.remember(f"key {number}", f"name {number}")

    assert (len(windows._callers), len(keys._names)) == (CALLERS_MAX, GOOD_KEYS_MAX)
    assert keys.name_of("key 0") is None
    assert keys.name_of(f"key {CALLERS_MAX}") == f"name {CALLERS_MAX}"


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::nonsense::", "::nonsense::"),
        ("", ""),
    ],
)
def test_customer_with_many_addresses_is_one_caller(host, network):
    assert network_of(host) == network
