"""The seam to artifact storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class ArtifactStore(Protocol):
    """Immutable files under the SHA-256 of their content; writing one twice changes nothing."""

    async def put_bytes(self, content: bytes) -> str:
        """Store `content` durably and return its SHA-256.

        Raises:
            ArtifactError: It could not be written; nothing is visible under its hash.
        """
        ...

    async def put_file(self, path: Path) -> tuple[str, int]:
        """Store a copy of the file durably, streaming; return its SHA-256 and size in bytes.

        Raises:
            ArtifactError: It could not be read or written; nothing is visible under its hash.
        """
        ...

    async def get_bytes(self, sha256: str) -> bytes:
        """Return the whole content.

        Raises:
            ArtifactError: There is no such artifact, or it cannot be read.
        """
        ...

    def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield the content in chunks of bounded size.

        Raises:
            ArtifactError: There is no such artifact, or it cannot be read.
        """
        ...
