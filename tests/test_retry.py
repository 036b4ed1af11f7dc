from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import FatalError, InvalidResponseError, RateLimitedError, RetryLaterError
from holdfast.model import RetryPolicy
from holdfast.retry import is_malformed, is_transient, next_wait

policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 1000),
    base_seconds=st.floats(0, 1e6),
    cap_seconds=st.floats(0, 1e6),
    jitter=st.booleans(),
    malformed_attempts=st.integers(1, 20),
)


class StatusError(Exception):
    def __init__(self, status_code):
        super().__init__(status_code)
        self.status_code = status_code


class SelfToldError(Exception):
    def __init__(self, transient):
        super().__init__(transient)
        self.transient = transient
        self.status_code = 500


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *[(StatusError(status), True) for status in (408, 409, 425, 429, 500, 503, 599)],
        *[(StatusError(status), False) for status in (400, 401, 403, 404, 422)],
        (StatusError("429"), False),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (OSError(), False),
        (ValueError(), False),
        (SelfToldError(transient=True), True),
        (SelfToldError(transient=False), False),
        (SelfToldError(transient="yes"), True),  # not a bool: the status decides
        (FatalError("x"), False),
        (RetryLaterError("x", retry_after=timedelta(0)), True),
    ],
    ids=repr,
)
def test_error_is_transient_by_its_own_word_its_status_or_its_class(error, expected):
    assert is_transient(error, RetryPolicy()) is expected


def test_policy_can_name_further_transient_classes():
    assert is_transient(KeyError("x"), RetryPolicy(retry_on=(LookupError,)))
    assert not is_transient(ValueError("x"), RetryPolicy(retry_on=(LookupError,)))


def test_malformed_output_says_so_itself():
    assert is_malformed(InvalidResponseError("x"))
    assert not is_malformed(ValueError("x"))


@given(policies, st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_wait_stays_within_the_formula_and_the_attempts(policy, tries, spread):
    wait = next_wait(policy, TimeoutError(), tries=tries, malformed_tries=0, spread=spread)

    if tries >= policy.attempts:
        assert wait is None
    else:
        assert wait is not None
        full = min(policy.cap_seconds, policy.base_seconds * 2.0 ** min(tries - 1, 60))
        lowest = full / 2 if policy.jitter else full
        assert timedelta(seconds=lowest) - timedelta(microseconds=1) <= wait <= timedelta(seconds=full)


@given(st.integers(1, 50))
def test_waits_double_up_to_the_cap(tries):
    policy = RetryPolicy(attempts=99, base_seconds=1, cap_seconds=60, jitter=False)

    wait = next_wait(policy, TimeoutError(), tries=tries, malformed_tries=0, spread=0.3)

    assert wait == timedelta(seconds=min(60, 2 ** (tries - 1)))


@given(policies, st.timedeltas())
def test_the_providers_own_wait_wins_up_to_a_day(policy, asked):
    error = RateLimitedError("x", retry_after=asked)

    wait = next_wait(policy, error, tries=1, malformed_tries=0, spread=0.5)

    if policy.attempts == 1:
        assert wait is None
    else:
        assert wait == min(max(asked, timedelta(0)), timedelta(days=1))


@pytest.mark.parametrize(
    ("tries", "malformed", "again"), [(1, 1, True), (2, 2, True), (3, 3, False), (4, 2, True)]
)
def test_malformed_output_has_a_limit_of_its_own(tries, malformed, again):
    policy = RetryPolicy(attempts=9, malformed_attempts=3)

    wait = next_wait(policy, InvalidResponseError("x"), tries=tries, malformed_tries=malformed, spread=0)

    assert (wait is not None) is again


def test_permanent_error_is_not_tried_again():
    assert next_wait(RetryPolicy(), ValueError(), tries=1, malformed_tries=0, spread=0) is None


@pytest.mark.parametrize(
    "options", [{"attempts": 0}, {"malformed_attempts": 0}, {"base_seconds": -1}, {"cap_seconds": -0.1}]
)
def test_policy_with_impossible_numbers_is_refused(options):
    with pytest.raises(ValueError, match="retry policy"):
        RetryPolicy(**options)


def wait_of(policy, tries, error=None, spread=0.0):
    error = error or TimeoutError()
    return next_wait(policy, error, tries=tries, malformed_tries=0, spread=spread)


def test_given_waits_are_kept_to_and_the_last_repeats():
    policy = RetryPolicy(attempts=5, waits_seconds=(5, 300, 7200), jitter=False)

    waits = [wait_of(policy, tries) for tries in range(1, 6)]

    assert waits == [*(timedelta(seconds=each) for each in (5, 300, 7200, 7200)), None]


def test_jitter_shortens_given_waits_as_it_does_others():
    assert wait_of(RetryPolicy(waits_seconds=(100,)), 1) == timedelta(seconds=50)


@pytest.mark.parametrize(("asked", "expected"), [(1, 60), (90, 90), (10**9, 86_400)])
def test_retry_after_only_lengthens_given_waits(asked, expected):
    error = RetryLaterError("busy", retry_after=timedelta(seconds=asked))

    wait = wait_of(RetryPolicy(waits_seconds=(60,), jitter=False), 1, error)

    assert wait == timedelta(seconds=expected)


def test_negative_waits_are_refused():
    with pytest.raises(ValueError, match="negative wait"):
        RetryPolicy(waits_seconds=(1, -1))
