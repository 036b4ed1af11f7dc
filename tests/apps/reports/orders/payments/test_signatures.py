"""Signatures both ways: ours before Stripe's library, and what anybody makes up before ours."""

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.reports.orders.payments.signatures import TOLERANCE_SECONDS, Signatures
from holdfast.clock import SystemClock
from holdfast.errors import InvalidSignatureError
from holdfast.testing.clock import ManualClock

OLD, NEW = "whsec_old", "whsec_new"
BODY = '{"id": "evt_1", "object": "event", "name": "Žofie"}'.encode()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def signatures(clock):
    return Signatures([NEW], clock)


def test_stripes_library_takes_our_signature():
    header = Signatures([NEW], SystemClock()).sign(BODY)

    event = stripe.Webhook.construct_event(BODY, header, NEW)

    assert event.id == "evt_1"


def test_we_take_the_signature_of_stripes_library(signatures, clock):
    at = int(clock.now().timestamp())
    header = stripe.WebhookSignature.generate_signature_header(BODY.decode(), NEW, timestamp=at)

    signatures.check(BODY, header)


def test_both_secrets_are_taken_while_one_is_rolled(clock):
    rolling = Signatures([NEW, OLD], clock)
    header = Signatures([OLD], clock).sign(BODY)
    both = f"{header},{Signatures([NEW], clock).sign(BODY).split(',')[1]}"

    rolling.check(BODY, header)
    rolling.check(BODY, both)
    with pytest.raises(InvalidSignatureError, match="not signed with a secret of ours"):
        Signatures([NEW], clock).check(BODY, header)


def test_changed_body_is_refused(signatures):
    header = signatures.sign(BODY)

    for changed in (BODY + b" ", BODY[:-1], b"", b"\xff"):
        with pytest.raises(InvalidSignatureError):
            signatures.check(changed, header)


def test_signature_ends_after_its_tolerance_by_our_clock(signatures, clock):
    header = signatures.sign(BODY)

    clock.advance(TOLERANCE_SECONDS)
    signatures.check(BODY, header)
    clock.advance(1)
    with pytest.raises(InvalidSignatureError, match="301 s ago"):
        signatures.check(BODY, header)


def test_time_that_was_not_signed_does_not_make_a_signature_young(signatures, clock):
    old = signatures.sign(BODY)
    clock.advance(10_000)
    young = f"t={int(clock.now().timestamp())}"

    for header in (f"{old},{young}", f"{young},{old}", f"{young},{old.split(',')[1]}"):
        with pytest.raises(InvalidSignatureError):
            signatures.check(BODY, header)


@pytest.mark.parametrize(
    "header",
    ["", "t=1", "v1=ab", "t=x,v1=ab", "t=1,v0=ab", "t=1,v1=é", ",,=", f"t={'9' * 5000},v1=a", "t,v1"],
)
def test_odd_headers_are_refused(header, signatures):
    with pytest.raises(InvalidSignatureError):
        signatures.check(BODY, header)


@given(st.binary(), st.text())
def test_no_made_up_signature_is_taken_and_nothing_else_is_raised(body, header):
    with pytest.raises(InvalidSignatureError) as caught:
        Signatures([NEW], ManualClock()).check(body, header)

    assert NEW not in str(caught.value)
