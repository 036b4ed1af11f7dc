"""Artifacts in a folder."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import obstore
from obstore.store import LocalStore

from holdfast.artifacts.object_store import INCOMING, ObjectArtifacts, key_of
from holdfast.artifacts.trouble import Kind
from holdfast.errors import ArtifactError
from holdfast.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import Path

    from holdfast.clock import Clock


class LocalArtifacts(ObjectArtifacts):
    """Artifacts in a folder: `ab/abcdef…`, written as temporary file, fsync, rename, fsync."""

    hints = {  # noqa: RUF012 - declared as a class variable where it is used
        Kind.MISSING: "restore the artifact folder that belongs to this store",
        Kind.REFUSED: "let this user write there, or set HOLDFAST_ARTIFACTS to another folder",
        Kind.PASSING: "free disk space or mend the disk, then try again",
    }

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Create the folder if needed.

        Raises:
            ArtifactError: The folder cannot be created.
        """
        self.folder = folder
        try:
            (folder / INCOMING).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(
                f"artifact folder {str(folder)!r} cannot be created: {error.strerror}",
                hint="set HOLDFAST_HOME (or HOLDFAST_ARTIFACTS) to a folder this user can write to",
            ) from error
        super().__init__(LocalStore(prefix=folder), clock, place=f"folder {str(folder)!r}")

    def _write(self, sha256: str, content: bytes | Iterator[bytes], part_bytes: int) -> None:
        incoming = f"{INCOMING}/{new_id('put')}"
        self._upload(incoming, content, part_bytes)
        # The rename must not become durable before the content: a name that exists is trusted.
        _fsync(self.folder / incoming)
        obstore.rename(self._store, incoming, key_of(sha256))
        _fsync(self._path(sha256).parent)
        _fsync(self.folder)

    def _renew(self, sha256: str) -> bool:
        try:
            os.utime(self._path(sha256))
        except FileNotFoundError:
            return False
        return True

    def _remove(self, sha256: str, before: datetime | None) -> bool:
        path = aside = self._path(sha256)
        if before is not None:
            if _stored_at(path) >= before:
                return False
            # Looked at once more where nobody can renew it: whoever comes now writes it again.
            aside = path.rename(self.folder / INCOMING / new_id("deleted"))
            if _stored_at(aside) >= before:
                aside.rename(path)
                return False
        aside.unlink()
        # What was erased must not come back with a power failure.
        _fsync(path.parent)
        _fsync(aside.parent)
        return True

    def _sweep(self, before: datetime) -> int:
        removed = 0
        # Listed without obstore, which hides the unfinished files that it leaves (`name#1`).
        for path in (self.folder / INCOMING).iterdir():
            if _stored_at(path) < before:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _link(self, sha256: str, expires: timedelta, filename: str, media_type: str) -> None:
        return None

    def _path(self, sha256: str) -> Path:
        return self.folder / key_of(sha256)


def _stored_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
