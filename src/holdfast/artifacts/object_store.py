"""What a local folder and S3-compatible storage have in common, on one library: obstore.

The library is called from threads, by its blocking functions. Its asyncio functions answer from
threads of the library's own, which may still hold on to the answer when the interpreter goes: a
short program then dies of SIGABRT after its work is done.
"""

from __future__ import annotations

import abc
import asyncio
import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import obstore

from holdfast.artifacts.base import SETTLED_AFTER
from holdfast.artifacts.trouble import ERRORS, Kind, diagnose
from holdfast.errors import ArtifactError, ArtifactUnavailableError, ConfigError
from holdfast.ids import content_hash, new_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path
    from typing import BinaryIO, ClassVar, NoReturn

    from obstore import ObjectMeta
    from obstore.store import ObjectStore

    from holdfast.clock import Clock

P = ParamSpec("P")
T = TypeVar("T")

INCOMING = "incoming"
"""Where everything lies that is not an artifact yet, or never will be."""

LEFTOVER_AGE = timedelta(days=1)

_PART_BYTES = 8 * 1024**2
_RANGE_PART_BYTES = 1024**2
_PARTS_MAX = 10_000  # S3's limit for one upload
_PARTS_AT_ONCE = 2
_TRANSFERS_AT_ONCE = 8
_PROBE = b"holdfast probe"
_PAGE = 1_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA256_KEY = re.compile(r"[0-9a-f]{2}/([0-9a-f]{64})")


class ObjectArtifacts(abc.ABC):
    """Artifacts as objects `ab/abcdef…`; memory is bounded by transfers at once times parts in flight.

    What differs by the place is in the abstract methods; all of them block and run in threads.
    """

    hints: ClassVar[Mapping[Kind, str]]
    """What to do about each kind of trouble with this place."""

    def __init__(self, store: ObjectStore, clock: Clock, *, place: str) -> None:
        self.place = place
        """Where it is, for messages: no secrets."""
        self._store = store
        self._clock = clock
        self._threads = ThreadPoolExecutor(_TRANSFERS_AT_ONCE, thread_name_prefix="holdfast-artifacts")

    async def check(self) -> None:
        """See `ArtifactStore.check`."""
        await self._run(self._probe)

    async def put_bytes(self, content: bytes) -> str:
        """See `ArtifactStore.put_bytes`."""
        sha256 = await self._run(content_hash, content)
        await self._run(self._put, sha256, len(content), lambda: content)
        return sha256

    async def put_file(self, path: Path) -> tuple[str, int]:
        """See `ArtifactStore.put_file`."""
        stopped = threading.Event()
        try:
            return await self._run(self._put_file, path, stopped)
        finally:
            # A thread cannot be cancelled: the upload ends at its next part and leaves nothing.
            stopped.set()

    async def get_bytes(self, sha256: str) -> bytes:
        """See `ArtifactStore.get_bytes`."""
        return await self._run(self._get, sha256)

    async def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """See `ArtifactStore.stream`."""
        size = await self._run(self._size, sha256)
        if size is None:
            raise self._no_such(sha256)
        digest = hashlib.sha256()
        # By ranges: each request is short and tried again by itself, and no connection waits for
        # a slow reader.
        for start in range(0, max(size, 1), _PART_BYTES):
            yield await self._run(self._read, sha256, start, size, digest)

    async def stream_range(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See `ArtifactStore.stream_range`."""
        for begin in range(start, end, _RANGE_PART_BYTES):
            yield await self._run(self._read_range, sha256, begin, min(begin + _RANGE_PART_BYTES, end))

    async def link(
        self, sha256: str, *, expires: timedelta, filename: str, media_type: str
    ) -> str | None:
        """See `ArtifactStore.link`."""
        return await self._run(self._link, sha256, expires, filename, media_type)

    async def delete(self, sha256: str, *, settled_only: bool = False) -> bool:
        """See `ArtifactStore.delete`."""
        before = self._clock.now() - SETTLED_AFTER if settled_only else None
        return await self._run(self._delete, sha256, before)

    async def settled(self) -> AsyncIterator[Sequence[str]]:
        """See `ArtifactStore.settled`."""
        before = self._clock.now() - SETTLED_AFTER
        pages = await self._run(obstore.list, self._store, chunk_size=_PAGE)
        while page := await self._run(self._next_page, pages):
            names = [_SHA256_KEY.fullmatch(entry["path"]) for entry in page if stored_at(entry) < before]
            if found := [name[1] for name in names if name]:
                yield found

    async def sweep(self) -> int:
        """See `ArtifactStore.sweep`."""
        return await self._run(self._sweep_old, self._clock.now() - LEFTOVER_AGE)

    # --- what differs by the place ---------------------------------------------------------------

    @abc.abstractmethod
    def _write(self, sha256: str, content: bytes | Iterator[bytes], part_bytes: int) -> None:
        """Store the content under its hash, durably and in full or not at all."""

    @abc.abstractmethod
    def _renew(self, sha256: str) -> bool:
        """Have the object count as stored now; False if it has to be written again for that."""

    @abc.abstractmethod
    def _remove(self, sha256: str, before: datetime | None) -> bool:
        """Delete the object, if it was last stored before then; return whether it is gone."""

    @abc.abstractmethod
    def _sweep(self, before: datetime) -> int:
        """Delete what lies in `INCOMING` since before then; return how many."""

    @abc.abstractmethod
    def _link(self, sha256: str, expires: timedelta, filename: str, media_type: str) -> str | None:
        """See `ArtifactStore.link`."""

    # --- in threads ------------------------------------------------------------------------------

    async def _run(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **options))

    def _put_file(self, path: Path, stopped: threading.Event) -> tuple[str, int]:
        try:
            file = path.open("rb")
        except OSError as error:
            raise _unreadable_file(path, error) from error
        with file:
            try:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
                file.seek(0)
            except OSError as error:
                raise _unreadable_file(path, error) from error

            def content() -> bytes | Iterator[bytes]:
                chunks = _unchanged(path, file, sha256, stopped)
                return chunks if size > _PART_BYTES else b"".join(chunks)

            self._put(sha256, size, content)
        return sha256, size

    def _put(self, sha256: str, size: int, content: Callable[[], bytes | Iterator[bytes]]) -> None:
        # Renewed, so that nobody who saw its last job go deletes it under this one.
        if self._size(sha256) == size and self._renew(sha256):
            return
        try:
            self._write(sha256, content(), max(_PART_BYTES, -(-size // _PARTS_MAX)))
        except ERRORS as error:
            self._fail(f"artifact {sha256} cannot be written to {self.place}", error)
        if (found := self._size(sha256)) != size:
            raise ArtifactUnavailableError(
                f"artifact {sha256} has {found} bytes in {self.place} after {size} were written",
                hint=self.hints[Kind.PASSING],
            )

    def _upload(self, key: str, content: bytes | Iterator[bytes], part_bytes: int) -> None:
        obstore.put(self._store, key, content, chunk_size=part_bytes, max_concurrency=_PARTS_AT_ONCE)

    def _size(self, sha256: str) -> int | None:
        found = self._look(sha256)
        return None if found is None else found["size"]

    def _look(self, sha256: str) -> ObjectMeta | None:
        try:
            return obstore.head(self._store, key_of(sha256))
        except ERRORS as error:
            if diagnose(error).kind is Kind.MISSING:
                return None
            self._fail(f"artifact {sha256} cannot be looked up in {self.place}", error)

    def _get(self, sha256: str) -> bytes:
        try:
            content = bytes(obstore.get(self._store, key_of(sha256)).bytes())
        except ERRORS as error:
            self._fail(f"artifact {sha256} cannot be read from {self.place}", error)
        if content_hash(content) != sha256:
            raise self._damaged(sha256)
        return content

    def _read(self, sha256: str, start: int, size: int, digest: hashlib._Hash) -> bytes:
        end = min(start + _PART_BYTES, size)
        chunk = b""
        if size:  # no range fits into nothing
            chunk = self._read_range(sha256, start, end)
        digest.update(chunk)
        if end == size and digest.hexdigest() != sha256:
            raise self._damaged(sha256)
        return chunk

    def _read_range(self, sha256: str, start: int, end: int) -> bytes:
        try:
            return bytes(obstore.get_range(self._store, key_of(sha256), start=start, end=end))
        except ERRORS as error:
            self._fail(f"artifact {sha256} cannot be read from {self.place}", error)

    def _delete(self, sha256: str, before: datetime | None) -> bool:
        try:
            return self._remove(sha256, before)
        except ERRORS as error:
            if diagnose(error).kind is not Kind.MISSING:
                self._fail(f"artifact {sha256} cannot be deleted from {self.place}", error)
            return True

    def _next_page(self, pages: Iterator[Sequence[ObjectMeta]]) -> Sequence[ObjectMeta]:
        try:
            return next(pages, ())
        except ERRORS as error:
            self._fail(f"artifacts in {self.place} cannot be listed", error)

    def _sweep_old(self, before: datetime) -> int:
        try:
            return self._sweep(before)
        except ERRORS as error:
            self._fail(f"left-overs cannot be removed from {self.place}", error)

    def _probe(self) -> None:
        key = f"{INCOMING}/{new_id('probe')}"
        try:
            obstore.put(self._store, key, _PROBE)
            found = bytes(obstore.get(self._store, key).bytes())
            obstore.delete(self._store, key)
        except ERRORS as error:
            trouble = diagnose(error)
            if trouble.kind is Kind.PASSING:
                self._fail(f"artifact storage {self.place} cannot be used", error)
            raise ConfigError(
                f"artifact storage {self.place} cannot be used: {trouble.reason}",
                hint=self.hints[Kind.REFUSED],
            ) from error
        if found != _PROBE:
            raise ConfigError(
                f"artifact storage {self.place} gave back other bytes than were written",
                hint="see that no proxy in between changes content",
            )

    # --- trouble ---------------------------------------------------------------------------------

    def _fail(self, what: str, error: Exception) -> NoReturn:
        trouble = diagnose(error)
        wrapped = ArtifactUnavailableError if trouble.kind is Kind.PASSING else ArtifactError
        raise wrapped(f"{what}: {trouble.reason}", hint=self.hints[trouble.kind]) from error

    def _no_such(self, sha256: str) -> ArtifactError:
        return ArtifactError(
            f"artifact {sha256} cannot be read from {self.place}: there is no such object",
            hint=self.hints[Kind.MISSING],
        )

    def _damaged(self, sha256: str) -> ArtifactError:
        return ArtifactError(
            f"artifact {sha256} is damaged in {self.place}: its content does not have its hash",
            hint="restore it from a backup, or delete it and fork the job to make it anew",
        )


def stored_at(entry: ObjectMeta) -> datetime:
    """Return when the object was last written."""
    return entry["last_modified"].astimezone(UTC)


def key_of(sha256: str) -> str:
    """Return the object's name below the folder or prefix.

    Raises:
        ArtifactError: It is no SHA-256, so that no caller can reach other objects by it.
    """
    if _SHA256.fullmatch(sha256) is None:
        raise ArtifactError(f"{sha256[:80]!r} is no SHA-256 of an artifact")
    return f"{sha256[:2]}/{sha256}"


def _unchanged(path: Path, file: BinaryIO, sha256: str, stopped: threading.Event) -> Iterator[bytes]:
    """Yield the file's chunks; an upload fed by it fails where the content is not what was hashed."""
    digest = hashlib.sha256()
    while True:
        try:
            chunk = file.read(_PART_BYTES)
        except OSError as error:
            raise _unreadable_file(path, error) from error
        if stopped.is_set():
            raise ArtifactError(f"storing of file {str(path)!r} was cancelled")
        if not chunk:
            break
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        raise ArtifactError(
            f"file {str(path)!r} was changed while it was stored",
            hint="save a file only once its writer has closed it",
        )


def _unreadable_file(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"file {str(path)!r} cannot be read: {error.strerror}")
