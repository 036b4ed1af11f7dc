"""Sealing: what opens, what does not, and what an error may say."""

import base64
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import ConfigError, SealedValueError
from holdfast.sealing import KEY_BYTES, Keyring, load_keyring, new_key, sealing_key_of

FIRST, SECOND = bytes(range(KEY_BYTES)), bytes(range(1, KEY_BYTES + 1))
RING = Keyring({"first": FIRST})

texts = st.binary(min_size=1, max_size=2_000)
owners = st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=3)


@given(texts, owners)
def test_what_is_sealed_opens_again(text: bytes, owner: list[str]):
    sealed = RING.seal(text, "input", *owner)

    assert RING.open(sealed, "input", *owner) == text
    assert RING.seal(text, "input", *owner) == sealed


@given(st.binary(min_size=8, max_size=200))
def test_sealed_text_does_not_show_the_text(text: bytes):
    encoded = RING.seal(text, "input").removeprefix(b"$sealed:first:")

    assert text not in encoded
    assert text not in base64.b64decode(encoded)


@given(texts, owners, owners)
def test_sealed_text_opens_only_for_its_owner(text: bytes, owner: list[str], other: list[str]):
    sealed = RING.seal(text, "input", *owner)

    for field, parts in (("output", owner), ("input", [*owner, "x"]), ("input", other)):
        if (field, parts) != ("input", owner):
            with pytest.raises(SealedValueError):
                RING.open(sealed, field, *parts)


@given(texts, st.data())
def test_one_changed_byte_never_opens(text: bytes, data: st.DataObject):
    raw = bytearray(base64.b64decode(RING.seal(text, "input").rpartition(b":")[2]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(SealedValueError, match="does not open"):
        RING.open(b"$sealed:first:" + base64.b64encode(raw), "input")


@given(texts)
def test_text_that_was_never_sealed_is_passed_on(text: bytes):
    if not text.startswith(b"$sealed:"):
        assert RING.open(text, "input") == text
    assert Keyring().seal(text, "input") == text


@given(st.binary(max_size=100))
def test_anything_else_behind_the_mark_is_refused_without_being_shown(text: bytes):
    with pytest.raises(SealedValueError) as caught:
        RING.open(b"$sealed:" + text, "input")

    assert len(caught.value.key_id) <= 32
    assert caught.value.key_id == sealing_key_of(b"$sealed:" + text)


def test_first_key_seals_and_all_open():
    old, rotated = Keyring({"old": FIRST}), Keyring({"new": SECOND, "old": FIRST})
    before, after = old.seal(b"1", "input"), rotated.seal(b"1", "input")

    assert (sealing_key_of(before), sealing_key_of(after)) == ("old", "new")
    assert rotated.open(before, "input") == rotated.open(after, "input") == b"1"
    with pytest.raises(SealedValueError, match="'new', which is not among the sealing keys"):
        old.open(after, "input")


def test_other_key_under_the_same_id_does_not_open():
    sealed = RING.seal(b"1", "input", "job_1")

    with pytest.raises(
        SealedValueError, match="input of 'job_1' does not open with sealing key 'first'"
    ):
        Keyring({"first": SECOND}).open(sealed, "input", "job_1")


# the form of the setting


def test_keys_are_read_in_their_order():
    ring = load_keyring(f" {new_key('b')},\n{new_key('a')} ")

    assert ring.key_ids == ("b", "a")
    assert not load_keyring(" ").seals


def test_new_keys_differ_and_are_named_after_themselves():
    first, second = new_key(), new_key()

    assert load_keyring(f"{first},{second}").seals
    assert first.partition(":")[0] != second.partition(":")[0]


@pytest.mark.parametrize(
    "entry",
    [
        "secret-without-id",
        f"a:{base64.b64encode(b'secret' * 5).decode()}",
        "a:secret%",
        f":{base64.b64encode(FIRST).decode()}",
        f"a b:{base64.b64encode(FIRST).decode()}",
        "",
    ],
)
def test_wrong_entry_is_told_by_its_number_without_showing_it(entry: str):
    with pytest.raises(ConfigError, match="sealing key number 2 is not of the form") as caught:
        load_keyring(f"{new_key('first')},{entry}")

    assert "secret" not in str(caught.value)


def test_same_id_twice_is_refused():
    with pytest.raises(ConfigError, match="number 2 has the same id"):
        load_keyring(f"{new_key('a')},{new_key('a')}")


def test_id_with_a_separator_is_refused():
    with pytest.raises(ConfigError, match="'a:b'"):
        new_key("a:b")


def test_missing_package_is_told_by_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)

    with pytest.raises(ConfigError, match=r"install 'holdfast\[sealing\]'"):
        Keyring({"a": FIRST})


def test_without_a_key_the_package_is_not_imported():
    code = "import sys, holdfast.sealing as s; s.load_keyring(''); print('cryptography' in sys.modules)"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout == "False\n"


def test_sealing_is_aes_siv_of_rfc_5297():
    """The vector of appendix A.1, whose keys are of 128 bits, so the form of a key is ours alone."""
    key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    context = bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
    text = bytes.fromhex("112233445566778899aabbccddee")

    sealed = Keyring({"a": key}).seal(text, context.decode("latin-1"))

    assert base64.b64decode(sealed.rpartition(b":")[2]).hex() == (
        "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"
    )
