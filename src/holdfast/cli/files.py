"""Writing an artifact to a file of the user's choice: streamed, and there in full or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import ArtifactError, InvalidInputError

if TYPE_CHECKING:
    from holdfast.engine.client import JobClient
    from holdfast.model import Artifact

_MODE = 0o666


def check_target(path: Path) -> None:
    """Make the folder of `path` and see that a file can be written there, before anything is paid.

    Raises:
        InvalidInputError: It cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"folder {str(path.parent)!r} cannot be made: {error.strerror}", hint="choose another file"
        ) from None
    if path.is_dir():
        raise InvalidInputError(f"{str(path)!r} is a folder", hint="name a file in it")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InvalidInputError(
            f"folder {str(path.parent)!r} cannot be written to", hint="choose another file"
        )


async def save(client: JobClient, artifact: Artifact, path: Path) -> None:
    """Write an artifact to `path`: a temporary file beside it, checked, flushed and renamed.

    Raises:
        ArtifactError: It cannot be read or written, or its content is not what was stored.
    """
    unfinished: str | None = None
    digest = hashlib.sha256()
    try:
        descriptor, unfinished = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=".part", dir=path.parent
        )
        with os.fdopen(descriptor, "wb") as file:
            async for chunk in client.stream_artifact(artifact):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != artifact.sha256:
            raise ArtifactError(
                f"artifact {artifact.name!r} is damaged: its content does not have its hash",
                hint="restore the artifact folder from a backup, or fork the job to make it anew",
            )
        _publish(unfinished, path)
        unfinished = None
    except OSError as error:
        raise ArtifactError(
            f"file {str(path)!r} cannot be written: {error.strerror or error}",
            hint="free disk space or choose another file; the report itself is kept in the store",
        ) from error
    finally:
        if unfinished is not None:
            _discard(unfinished)


def _publish(unfinished: str, path: Path) -> None:
    # Temporary files are private; the result gets the rights that any new file would get.
    Path(unfinished).chmod(_MODE & ~_umask())
    Path(unfinished).replace(path)


def _discard(unfinished: str) -> None:
    with contextlib.suppress(OSError):
        Path(unfinished).unlink()


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found
