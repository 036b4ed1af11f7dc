"""Writing an artifact to a file of the user's choice: streamed, and there in full or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import ArtifactError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from holdfast.jobs import Jobs
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


async def save(client: Jobs, artifact: Artifact, path: Path) -> None:
    """Write an artifact to `path`.

    Raises:
        ArtifactError: It cannot be read or written, or its content is not what was stored.
    """
    with replacing(path) as file:
        async for chunk in client.stream_artifact(artifact):
            file.write(chunk)


@contextlib.contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """Give a temporary file beside `path`, which takes its place once it is written and flushed.

    Args:
        path: What to write or replace; untouched if the block raises.
        private: Let nobody but its owner read it.

    Raises:
        ArtifactError: It cannot be written.
    """
    unfinished: str | None = None
    try:
        descriptor, unfinished = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=".part", dir=path.parent
        )
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not private:
            # Temporary files are private; the result gets the rights that any new file would get.
            Path(unfinished).chmod(_MODE & ~_umask())
        Path(unfinished).replace(path)
        unfinished = None
    except OSError as error:
        raise ArtifactError(
            f"file {str(path)!r} cannot be written: {error.strerror or error}",
            hint="free disk space or choose another file; what it is made from is kept in the store",
        ) from error
    finally:
        if unfinished is not None:
            _discard(unfinished)


def _discard(unfinished: str) -> None:
    with contextlib.suppress(OSError):
        Path(unfinished).unlink()


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found
