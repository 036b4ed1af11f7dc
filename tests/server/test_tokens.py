from datetime import timedelta

import pytest

from holdfast.server.tokens import JOB_TOKEN_LIFETIME, Tokens
from holdfast.testing.clock import ManualClock

OLD, NEW = "old " * 10, "new " * 10


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_token_is_for_one_job_until_it_expires(clock):
    tokens = Tokens([NEW], clock)
    token = tokens.for_job("job_1")

    assert tokens.read_job(token) == "job_1"
    clock.advance(JOB_TOKEN_LIFETIME.total_seconds())
    assert tokens.read_job(token) is None


def test_secrets_can_be_rotated(clock):
    token = Tokens([OLD], clock).for_job("job_1")

    assert Tokens([NEW, OLD], clock).read_job(token) == "job_1"
    assert Tokens([NEW], clock).read_job(token) is None
    # The first one signs.
    assert Tokens([NEW], clock).read_job(Tokens([NEW, OLD], clock).for_job("job_2")) == "job_2"


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t.replace("hfj_", ""), lambda t: t + "x"]
)
def test_changed_token_is_refused(clock, change):
    tokens = Tokens([NEW], clock)

    assert tokens.read_job(change(tokens.for_job("job_1"))) is None


def test_token_for_another_purpose_is_refused(clock):
    tokens = Tokens([NEW], clock)
    session = tokens.sign("session", "job_1", timedelta(hours=1))

    assert tokens.read("session", session) == "job_1"
    assert tokens.read_job(f"hfj_{session}") is None


def test_signed_value_of_another_shape_is_refused(clock):
    tokens = Tokens([NEW], clock)
    odd = tokens._serializer("session").dumps("no pair at all")

    assert tokens.read("session", str(odd)) is None


def test_mark_is_always_the_same_and_only_good_for_its_text_and_purpose():
    tokens = Tokens([NEW], ManualClock())

    mark = tokens.mark("form", "session")

    assert mark == Tokens([NEW], ManualClock()).mark("form", "session")
    assert tokens.is_mark("form", "session", mark)
    assert not tokens.is_mark("form", "other", mark)
    assert not tokens.is_mark("other", "session", mark)
    assert not tokens.is_mark("form", "session", "")
    assert not tokens.is_mark("form", "session", "ä")


def test_mark_of_a_secret_that_was_replaced_is_good_while_it_is_accepted():
    mark = Tokens([OLD], ManualClock()).mark("form", "session")

    assert Tokens([NEW, OLD], ManualClock()).is_mark("form", "session", mark)
    assert not Tokens([NEW], ManualClock()).is_mark("form", "session", mark)
