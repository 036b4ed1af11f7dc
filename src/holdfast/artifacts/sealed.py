"""Large step results in artifact storage, sealed like the small ones in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.artifacts.base import Blobs
    from holdfast.sealing import Keyring


class SealedBlobs:
    """`Blobs` on other ones. Only for step results: files that a job saves are for others to read."""

    def __init__(self, blobs: Blobs, keys: Keyring) -> None:
        self._blobs = blobs
        self._keys = keys

    async def put_bytes(self, content: bytes) -> str:
        """Store `content` sealed, and return the SHA-256 of what was stored."""
        return await self._blobs.put_bytes(self._keys.seal(content, "result"))

    async def get_bytes(self, sha256: str) -> bytes:
        """Return the content, opened.

        Raises:
            ArtifactError: There is no such artifact, or it cannot be read.
            SealedValueError: It cannot be opened.
        """
        return self._keys.open(await self._blobs.get_bytes(sha256), "result")
