import base64
import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from holdfast.ids import (
    content_hash,
    derived_id,
    first_id,
    jitter,
    new_id,
    new_secret,
    new_webhook_secret,
)


def test_new_ids_are_different_and_of_one_form():
    made = {new_id("job") for _ in range(2_000)}

    assert len(made) == 2_000
    assert all(re.fullmatch(r"job_[0-9A-HJKMNP-TV-Z]{26}", found) for found in made)


def test_new_ids_sort_by_their_millisecond(monkeypatch):
    moments = iter([1_000_000_000, 1_001_000_000, 4_102_444_800_000_000_000])
    monkeypatch.setattr("holdfast.ids._time_ns", lambda: next(moments))

    made = [new_id("job") for _ in range(3)]

    assert made == sorted(made)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_derived_id_belongs_to_its_parts_alone(first, second):
    assert (derived_id("x", *first) == derived_id("x", *second)) is (first == second)


def test_derived_id_does_not_change_between_releases():
    """Ids in other stores depend on it."""
    assert derived_id("doc", "ab", "c") == derived_id("doc", "ab", "c")
    assert derived_id("doc", "ab", "c") != derived_id("doc", "a", "bc")
    assert re.fullmatch(r"doc_[0-9A-HJKMNP-TV-Z]{26}", derived_id("doc", "ab", "c"))


def test_content_hash_is_sha256():
    assert content_hash(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_jitter_is_a_share():
    assert all(0 <= jitter() < 1 for _ in range(100))


def test_first_id_divides_ids_by_the_time_they_were_made_at(monkeypatch):
    at = datetime(2026, 5, 20, 12, 0, 0, 7_000, tzinfo=UTC)
    nanoseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000
    moments = iter([nanoseconds - 1, nanoseconds])
    monkeypatch.setattr("holdfast.ids._time_ns", lambda: next(moments))

    assert new_id("job") < first_id("job", at) <= new_id("job")


def test_first_id_takes_any_time():
    assert first_id("job", datetime(1, 1, 1, tzinfo=UTC)) == "job_" + "0" * 26
    assert first_id("job", datetime(9999, 12, 31, tzinfo=UTC)) > new_id("job")


def test_secrets_are_different_and_of_one_form():
    made = {new_secret("hf") for _ in range(1_000)}

    assert len(made) == 1_000
    assert all(re.fullmatch(r"hf_[0-9A-HJKMNP-TV-Z]{32}", found) for found in made)


def test_webhook_secrets_are_256_bits_in_the_form_of_standard_webhooks():
    secrets = {new_webhook_secret() for _ in range(100)}

    assert len(secrets) == 100
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
