"""Artifact storage on obstore: one library for a local folder and S3-compatible storage."""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from holdfast.errors import ArtifactError
from holdfast.ids import content_hash, new_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from holdfast.clock import Clock

_CHUNK_BYTES = 4 * 1024**2
_LEFTOVER_AGE = timedelta(days=1)
_INCOMING = "incoming"


class LocalArtifacts:
    """Artifacts in a folder: `ab/abcdef…`, written as temporary file, fsync, rename, fsync."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Create the folder if needed.

        Raises:
            ArtifactError: The folder cannot be created.
        """
        self.folder = folder
        self._clock = clock
        try:
            (folder / _INCOMING).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(
                f"artifact folder {str(folder)!r} cannot be created: {error.strerror}",
                hint="set HOLDFAST_HOME (or HOLDFAST_ARTIFACTS) to a folder this user can write to",
            ) from error
        self._store = LocalStore(prefix=folder)

    async def put_bytes(self, content: bytes) -> str:
        """See `ArtifactStore.put_bytes`."""
        sha256 = content_hash(content)
        if not self._path(sha256).exists():
            incoming = f"{_INCOMING}/{new_id('put')}"
            await self._upload(incoming, content)
            await self._publish(incoming, sha256)
        return sha256

    async def put_file(self, path: Path) -> tuple[str, int]:
        """See `ArtifactStore.put_file`."""
        try:
            sha256, size = await asyncio.to_thread(_hash_file, path)
        except OSError as error:
            raise ArtifactError(f"file {str(path)!r} cannot be read: {error.strerror}") from error
        if not self._path(sha256).exists():
            incoming = f"{_INCOMING}/{new_id('put')}"
            await self._upload(incoming, path)
            await self._publish(incoming, sha256)
        return sha256, size

    async def get_bytes(self, sha256: str) -> bytes:
        """See `ArtifactStore.get_bytes`."""
        try:
            found = await obstore.get_async(self._store, _key(sha256))
            return bytes(await found.bytes_async())
        except (BaseError, OSError) as error:
            raise self._unreadable(sha256, error) from error

    async def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """See `ArtifactStore.stream`."""
        try:
            found = await obstore.get_async(self._store, _key(sha256))
            async for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)
        except (BaseError, OSError) as error:
            raise self._unreadable(sha256, error) from error

    async def sweep(self) -> int:
        """Remove what writers killed in the middle left behind a day ago or more."""
        limit = self._clock.now() - _LEFTOVER_AGE
        removed = 0
        async for page in obstore.list(self._store, prefix=_INCOMING):
            for entry in page:
                if entry["last_modified"].astimezone(UTC) < limit:
                    await obstore.delete_async(self._store, entry["path"])
                    removed += 1
        return removed

    def _path(self, sha256: str) -> Path:
        return self.folder / _key(sha256)

    async def _upload(self, incoming: str, content: bytes | Path) -> None:
        try:
            await obstore.put_async(self._store, incoming, content)
        except (BaseError, OSError) as error:
            raise ArtifactError(
                f"artifact folder {str(self.folder)!r} refused a write: {_reason(error)}",
                hint="free disk space or mend the folder's permissions; the step will be tried again",
            ) from error

    async def _publish(self, incoming: str, sha256: str) -> None:
        # The rename must not become durable before the content: a name that exists is trusted.
        try:
            await asyncio.to_thread(_fsync, self.folder / incoming)
            await obstore.rename_async(self._store, incoming, _key(sha256))
            await asyncio.to_thread(_fsync, self._path(sha256).parent)
            await asyncio.to_thread(_fsync, self.folder)
        except (BaseError, OSError) as error:
            raise ArtifactError(
                f"artifact {sha256} could not be made durable: {_reason(error)}",
                hint="free disk space or mend the folder's permissions; the step will be tried again",
            ) from error

    def _unreadable(self, sha256: str, error: Exception) -> ArtifactError:
        return ArtifactError(
            f"artifact {sha256} cannot be read from {str(self.folder)!r}: {_reason(error)}",
            hint="restore the artifact folder that belongs to this store",
        )


def _key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _reason(error: Exception) -> str:
    return type(error).__name__ if isinstance(error, BaseError) else str(error)


def _hash_file(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), file.tell()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
