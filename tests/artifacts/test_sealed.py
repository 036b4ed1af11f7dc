"""Large step results are sealed where they lie."""

import pytest

from holdfast.artifacts.sealed import SealedBlobs
from holdfast.errors import SealedValueError
from holdfast.ids import content_hash
from holdfast.sealing import KEY_BYTES, Keyring

CONTENT = b'"' + b"Zaphod Beeblebrox " * 20_000 + b'"'
KEYS = Keyring({"a": bytes(KEY_BYTES)})


class Folder(dict[str, bytes]):
    """Blobs by hash."""

    async def put_bytes(self, content: bytes) -> str:
        self[content_hash(content)] = content
        return content_hash(content)

    async def get_bytes(self, sha256: str) -> bytes:
        return self[sha256]


@pytest.fixture
def plain() -> Folder:
    return Folder()


async def test_result_comes_back_and_does_not_lie_there_in_the_clear(plain: Folder):
    blobs = SealedBlobs(plain, KEYS)

    sha256 = await blobs.put_bytes(CONTENT)

    assert await blobs.get_bytes(sha256) == CONTENT
    assert b"Zaphod" not in plain[sha256]
    assert await blobs.put_bytes(CONTENT) == sha256


async def test_result_of_before_there_was_a_key_is_still_read(plain: Folder):
    sha256 = await SealedBlobs(plain, Keyring()).put_bytes(CONTENT)

    assert plain[sha256] == CONTENT
    assert await SealedBlobs(plain, KEYS).get_bytes(sha256) == CONTENT


async def test_result_without_its_key_is_told(plain: Folder):
    sha256 = await SealedBlobs(plain, KEYS).put_bytes(CONTENT)

    with pytest.raises(SealedValueError, match="result is sealed with key 'a'"):
        await SealedBlobs(plain, Keyring()).get_bytes(sha256)
