"""Sealing: authenticated encryption of what is stored, with keys that can be rotated.

A sealed text is `$sealed:KEYID:` and the base64 of what AES-SIV gave (RFC 5297, with 256-bit AES).
AES-SIV is deterministic: under the same key and context the same text gives the same sealed text, so
that a repeated write can be recognised, and there is no nonce that could be used twice by mistake.
The context, which field of which job, is authenticated with it: a sealed text opens where it belongs
and nowhere else. Texts that do not begin with `$sealed:` were never sealed.

The only module that needs `cryptography`, and only once there is a key.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from holdfast.errors import ConfigError, SealedValueError
from holdfast.ids import content_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

SEALED_PREFIX = b"$sealed:"
"""What every sealed text begins with."""

KEY_BYTES = 64
"""Two AES keys of 256 bits, as AES-SIV wants them."""

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_KEY_ID_LENGTH_MAX = 32
_NO_ID = "?"


class Keyring:
    """Sealing keys by id: the first one seals, all of them open. An empty one seals nothing."""

    __slots__ = ("_ciphers", "_head", "_sealing")

    def __init__(self, keys: Mapping[str, bytes] | None = None) -> None:
        """Take keys of 64 bytes, the one that seals first; see `load_keyring` for the settings' form.

        Raises:
            ConfigError: `cryptography` is not installed.
        """
        self._ciphers = {key_id: _aessiv()(key) for key_id, key in (keys or {}).items()}
        self._sealing: AESSIV | None = None
        self._head = b""
        if self._ciphers:
            first = self.key_ids[0]
            self._sealing = self._ciphers[first]
            self._head = SEALED_PREFIX + first.encode() + b":"

    @property
    def key_ids(self) -> Sequence[str]:
        """The ids of all keys, the one that seals first."""
        return tuple(self._ciphers)

    @property
    def seals(self) -> bool:
        """Whether there is a key to seal with."""
        return self._sealing is not None

    def seal(self, text: bytes, field: str, *owner: str) -> bytes:
        """Return `text` sealed as that field of that owner; as it is when there is no key."""
        if self._sealing is None:
            return text
        raw = self._sealing.encrypt(text, _context(field, owner))
        return self._head + binascii.b2a_base64(raw, newline=False)

    def open(self, sealed: bytes, field: str, *owner: str) -> bytes:
        """Return what was sealed as that field of that owner; what was never sealed as it is.

        Raises:
            SealedValueError: Its key is not here, or it does not open with it.
        """
        if not sealed.startswith(SEALED_PREFIX):
            return sealed
        key_id = sealing_key_of(sealed)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise SealedValueError(field=field, owner=owner, key_id=key_id, known_key=False)
        # Imported here, for without a key nobody needs it.
        from cryptography.exceptions import InvalidTag

        encoded = memoryview(sealed)[len(SEALED_PREFIX) + len(key_id) + 1 :]
        try:
            raw = binascii.a2b_base64(encoded, strict_mode=True)
            return cipher.decrypt(raw, _context(field, owner))
        except (ValueError, InvalidTag):
            raise SealedValueError(field=field, owner=owner, key_id=key_id, known_key=True) from None


def sealing_key_of(sealed: bytes) -> str:
    """Return the id of the key that a sealed text names, `?` when it names none."""
    start = len(SEALED_PREFIX)
    found = sealed[start : start + _KEY_ID_LENGTH_MAX + 1].partition(b":")[0].decode("latin-1")
    # Shown in errors, so nothing that could be a piece of somebody's text.
    return found if _KEY_ID.fullmatch(found) else _NO_ID


def load_keyring(text: str) -> Keyring:
    """Read `id:base64,id:base64,…`; an empty text gives an empty keyring.

    Raises:
        ConfigError: An entry has another form, or `cryptography` is not installed.
    """
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(text.split(",") if text.strip() else (), 1):
        key_id, _, encoded = entry.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        # Told by its number: somebody may have put the key where the id belongs.
        if not _KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES:
            raise ConfigError(
                f"sealing key number {number} is not of the form 'id:base64 of {KEY_BYTES} bytes'",
                hint="make one with 'holdfast sealing new-key'; separate several with commas",
            )
        if key_id in keys:
            raise ConfigError(
                f"sealing key number {number} has the same id as one before it",
                hint="ids must be unique and stay with their key for good",
            )
        keys[key_id] = key
    return Keyring(keys)


def new_key(key_id: str = "") -> str:
    """Return a fresh key as `id:base64`; the id is taken from the key's own hash by default.

    Raises:
        ConfigError: The id has the wrong form, or `cryptography` is not installed.
    """
    key = _aessiv().generate_key(KEY_BYTES * 8)
    if key_id and not _KEY_ID.fullmatch(key_id):
        raise ConfigError(
            f"sealing key id {key_id!r:.80} is not 1 to 32 letters, digits, '.', '_' or '-'",
            hint="leave it out to get one",
        )
    return f"{key_id or content_hash(key)[:8]}:{base64.b64encode(key).decode()}"


def _aessiv() -> type[AESSIV]:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV
    except ImportError as error:
        raise ConfigError(
            "sealing needs the package 'cryptography', which is not installed",
            hint="install 'holdfast[sealing]'",
        ) from error
    return AESSIV


def _context(field: str, owner: tuple[str, ...]) -> list[bytes]:
    return [field.encode(), *(part.encode() for part in owner)]
