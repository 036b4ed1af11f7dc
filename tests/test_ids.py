import base64
import re

from hypothesis import given
from hypothesis import strategies as st

from holdfast.ids import content_hash, derived_id, jitter, new_id, new_webhook_secret


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


def test_webhook_secrets_are_256_bits_in_the_form_of_standard_webhooks():
    secrets = {new_webhook_secret() for _ in range(100)}

    assert len(secrets) == 100
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
