"""The seam to artifact storage."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

SETTLED_AFTER = timedelta(minutes=5)
"""Content stored longer ago than this, to which no job refers, is nobody's.

Between storing content and committing the reference to it a worker takes a fraction of this; the rest
is for clocks that differ."""


class Blobs(Protocol):
    """Where large step results lie: all that the engine needs of an `ArtifactStore` for them."""

    async def put_bytes(self, content: bytes) -> str:
        """See `ArtifactStore.put_bytes`."""
        ...

    async def get_bytes(self, sha256: str) -> bytes:
        """See `ArtifactStore.get_bytes`."""
        ...


class ArtifactStore(Protocol):
    """Immutable files under the SHA-256 of their content; writing one twice only renews its date.

    Every verb raises `ArtifactUnavailableError` for trouble that may pass (the storage does not
    answer, the disk is full) and `ArtifactError` for any other.
    """

    async def check(self) -> None:
        """Write, read and delete a small object, so that a wrong setup shows at start.

        Raises:
            ConfigError: The storage refuses: no such bucket or folder, wrong key, missing rights.
            ArtifactUnavailableError: It cannot be reached, or has no room.
        """
        ...

    async def put_bytes(self, content: bytes) -> str:
        """Store `content` durably and return its SHA-256.

        Raises:
            ArtifactError: It could not be written; nothing is visible under its hash.
        """
        ...

    async def put_file(self, path: Path) -> tuple[str, int]:
        """Store a copy of the file durably, streaming; return its SHA-256 and size in bytes.

        Raises:
            ArtifactError: It could not be read or written, or it changed meanwhile; nothing is
                visible under its hash.
        """
        ...

    async def get_bytes(self, sha256: str) -> bytes:
        """Return the whole content.

        Raises:
            ArtifactError: There is no such artifact, it cannot be read, or what is stored does not
                have this hash.
        """
        ...

    def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield the content in chunks of bounded size.

        The last chunk is given only once the hash of all has been seen to be right: who received
        the whole content has the content that was stored.

        Raises:
            ArtifactError: As `get_bytes`; at the latest in place of the last chunk.
        """
        ...

    def stream_range(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to before `end`, in chunks of bounded size.

        A part tells nothing of the whole's hash, so nothing is checked but that it is there.

        Args:
            sha256: Of the whole content.
            start: 0 for the first byte.
            end: At most the content's size.

        Raises:
            ArtifactError: There is no such artifact, or these bytes of it cannot be read.
        """
        ...

    async def link(
        self, sha256: str, *, expires: timedelta, filename: str, media_type: str
    ) -> str | None:
        """Return a URL at which anyone can download the content until it expires.

        The browser saves it as `filename`. Whether the artifact exists is not looked up.

        Args:
            sha256: Of the content.
            expires: From now on; at most seven days.
            filename: As the user should see it; any characters.
            media_type: What the download says it is.

        Returns:
            The URL, or None where the storage has no address of its own (a local folder).

        Raises:
            ArtifactError: The time is longer than the storage allows.
        """
        ...

    async def delete(self, sha256: str, *, settled_only: bool = False) -> bool:
        """Remove the content; nothing happens when there is none.

        The caller sees to it that no job refers to it: equal files of different jobs are one.

        Args:
            sha256: Of the content.
            settled_only: Leave what was stored, for the first time or again, within `SETTLED_AFTER`:
                a job may be about to refer to it.

        Returns:
            Whether there is no such content any more.
        """
        ...

    def settled(self) -> AsyncIterator[Sequence[str]]:
        """Yield the SHA-256 of all content that was last stored before `SETTLED_AFTER`, in pages.

        A page has at most 1,000.
        """
        ...

    async def sweep(self) -> int:
        """Remove what writers killed in the middle left behind a day ago or more; return how many."""
        ...
