"""Limits and waits as providers write them."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.llm.providers.headers import go_duration, parse_limits, retry_after_seconds
from holdfast.testing.provider.limits import go_text

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360),
        ("12ms", 0.012),
        ("1h2m3.5s", 3723.5),
        ("1.5s", 1.5),
        ("250µs", 0.00025),
        ("250us", 0.00025),
        ("7", 7),
        (" 1s ", 1),
        ("0s", None),
        ("-1s", None),
        ("", None),
        ("soon", None),
        ("1s later", None),
        ("nan", None),
        ("inf", None),
        ("1e400", None),
        (None, None),
    ],
)
def test_go_duration_reads_what_go_prints(text, seconds):
    assert go_duration(text) == (None if seconds is None else pytest.approx(seconds))


@given(st.floats(0.002, 1e5))
def test_go_duration_reads_what_the_simulator_writes(seconds):
    assert go_duration(go_text(seconds)) == pytest.approx(seconds, rel=0.3)


@given(st.text(max_size=40))
def test_no_header_text_breaks_the_parser(text):
    headers = {
        f"x-ratelimit-{what}-{which}": text
        for what in ("limit", "remaining", "reset")
        for which in ("requests", "tokens")
    }
    limits = parse_limits(headers)
    wait = retry_after_seconds({"retry-after": text, "retry-after-ms": text}, hint=text, now=NOW)

    assert limits.requests_limit is None or limits.requests_limit > 0
    assert limits.requests_per_minute is None or limits.requests_per_minute > 0
    assert wait is None or wait > 0


def test_waits_are_taken_by_rank():
    headers = {
        "retry-after-ms": "1500",
        "retry-after": "7",
        "x-ratelimit-reset-tokens": "30s",
        "x-ratelimit-reset-requests": "6m0s",
    }
    hint = "Rate limit reached. Please try again in 12s."

    waits = []
    for name in ("retry-after-ms", "retry-after", ""):
        waits.append(retry_after_seconds(headers, hint=hint, now=NOW))
        headers.pop(name, None)
    waits.append(retry_after_seconds(headers, now=NOW))

    assert waits == [1.5, 7, 12, 60]
    assert retry_after_seconds({}, now=NOW) is None


def test_retry_after_may_be_a_date():
    date = format_datetime(NOW + timedelta(seconds=90), usegmt=True)

    assert retry_after_seconds({"retry-after": date}, now=NOW) == 90
    assert retry_after_seconds({"retry-after": format_datetime(NOW)}, now=NOW) is None
    assert retry_after_seconds({"retry-after": "Tue, 01 Jan 2030 00:00:09"}, now=NOW) in {9.0, None}


def test_values_of_zero_or_below_are_absent():
    limits = parse_limits({"x-ratelimit-limit-requests": "0", "x-ratelimit-remaining-tokens": "-1"})

    assert limits.requests_limit is None
    assert limits.tokens_remaining is None


@given(st.integers(1, 100_000), st.floats(0, 1))
def test_limit_of_a_minute_is_learnt_and_limit_of_a_day_is_not(limit, share_used):
    used = limit * share_used
    remaining = max(limit - used, 1)
    due = (limit - remaining) / limit * 60
    minute = parse_limits(
        {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-remaining-requests": str(remaining),
            "x-ratelimit-reset-requests": f"{due:.6f}s",
        }
    )
    assert minute.requests_per_minute == limit


def test_requests_per_day_are_not_taken_for_requests_per_minute():
    limits = parse_limits(
        {
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "8.64s",
        }
    )

    assert limits.requests_per_minute is None
