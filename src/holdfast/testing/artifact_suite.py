"""The conformance suite: every promise of `holdfast.artifacts.base`, for any implementation.

Subclass `ArtifactSuite` in a test module whose fixture `lab` is an `ArtifactLab`.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import pytest

from holdfast.artifacts.base import SETTLED_AFTER
from holdfast.errors import ArtifactError
from holdfast.ids import content_hash

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.artifacts.base import ArtifactStore
    from holdfast.testing.clock import ManualClock

_MIB = 1024**2
_CHUNK_BYTES_MAX = 16 * _MIB
_LARGE_BYTES = 20 * _MIB + 7
"""Several chunks and parts, the last one short."""

_SETTLED_SECONDS = SETTLED_AFTER.total_seconds() + 60
_LINK_AGE = timedelta(hours=1)


class ArtifactLab(Protocol):
    """What the user of the suite gives: one fresh, empty place and ways to look behind the seam."""

    clock: ManualClock
    """Starts at the machine's present, which the place stamps its files with."""

    def open(self) -> ArtifactStore:
        """Open the place once more, as another process would."""
        ...

    def names(self) -> list[str]:
        """Return the names of everything that is kept there, left-overs too, sorted."""
        ...

    def overwrite(self, sha256: str, content: bytes) -> None:
        """Replace what is kept under the hash by something else, as rot or a stranger would."""
        ...

    def leave_behind(self) -> None:
        """Put there what a writer that is killed in the middle leaves."""
        ...

    async def download(self, url: str) -> tuple[bytes, dict[str, str]]:
        """Return what is at a link, and the answer's headers by lower-case names."""
        ...


class ArtifactSuite:
    """Every promise of the artifacts' seam."""

    @pytest.fixture
    def artifacts(self, lab: ArtifactLab) -> ArtifactStore:
        """Give an open store."""
        return lab.open()

    @pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 41])
    async def test_content_comes_back_under_its_hash(
        self, artifacts: ArtifactStore, content: bytes
    ) -> None:
        sha256 = await artifacts.put_bytes(content)

        assert sha256 == content_hash(content)
        assert await artifacts.get_bytes(sha256) == content
        assert b"".join([chunk async for chunk in artifacts.stream(sha256)]) == content

    @pytest.mark.parametrize("size", [0, 1_000, _LARGE_BYTES])
    async def test_file_goes_up_and_comes_down_in_bounded_chunks(
        self, artifacts: ArtifactStore, tmp_path: Path, size: int
    ) -> None:
        content = os.urandom(size)
        (tmp_path / "book.pdf").write_bytes(content)

        sha256, stored = await artifacts.put_file(tmp_path / "book.pdf")
        chunks = [chunk async for chunk in artifacts.stream(sha256)]

        assert (sha256, stored) == (content_hash(content), size)
        assert max(map(len, chunks)) <= _CHUNK_BYTES_MAX
        assert b"".join(chunks) == content

    async def test_part_comes_down_in_bounded_chunks(self, artifacts: ArtifactStore) -> None:
        content = os.urandom(_LARGE_BYTES)
        sha256 = await artifacts.put_bytes(content)

        async def part(start: int, end: int) -> list[bytes]:
            return [chunk async for chunk in artifacts.stream_range(sha256, start, end)]

        large = await part(5, _LARGE_BYTES - 3)
        assert b"".join(large) == content[5:-3]
        assert max(map(len, large)) <= _CHUNK_BYTES_MAX
        assert await part(0, 1) == [content[:1]]
        assert b"".join(await part(_LARGE_BYTES - 1, _LARGE_BYTES)) == content[-1:]
        assert await part(7, 7) == []

    async def test_part_of_what_is_not_there_is_told(self, artifacts: ArtifactStore) -> None:
        sha256 = content_hash(b"never")

        with pytest.raises(ArtifactError, match=f"artifact {sha256} cannot be read"):
            await anext(artifacts.stream_range(sha256, 0, 1))

    async def test_another_process_sees_it_at_once(self, lab: ArtifactLab) -> None:
        sha256 = await lab.open().put_bytes(b"shared")

        assert await lab.open().get_bytes(sha256) == b"shared"

    async def test_same_content_is_kept_once(
        self, lab: ArtifactLab, artifacts: ArtifactStore, tmp_path: Path
    ) -> None:
        (tmp_path / "same").write_bytes(b"same")
        first = await artifacts.put_bytes(b"same")
        names = lab.names()

        assert await artifacts.put_file(tmp_path / "same") == (first, 4)
        assert await lab.open().put_bytes(b"same") == first
        assert lab.names() == names

    async def test_same_content_may_be_written_by_many_at_once(
        self, lab: ArtifactLab, tmp_path: Path
    ) -> None:
        content = os.urandom(_LARGE_BYTES)
        (tmp_path / "same").write_bytes(content)
        writers = [lab.open() for _ in range(4)]

        written = await asyncio.gather(*(writer.put_file(tmp_path / "same") for writer in writers))

        assert set(written) == {(content_hash(content), _LARGE_BYTES)}
        assert await lab.open().get_bytes(content_hash(content)) == content
        assert len([name for name in lab.names() if content_hash(content) in name]) == 1

    async def test_file_that_is_not_there_is_told(
        self, artifacts: ArtifactStore, tmp_path: Path
    ) -> None:
        with pytest.raises(ArtifactError, match=r"missing' cannot be read: No such file"):
            await artifacts.put_file(tmp_path / "missing")

    async def test_artifact_that_is_not_there_is_told(self, artifacts: ArtifactStore) -> None:
        sha256 = content_hash(b"never")

        with pytest.raises(ArtifactError, match=f"artifact {sha256} cannot be read"):
            await artifacts.get_bytes(sha256)
        with pytest.raises(ArtifactError, match=f"artifact {sha256} cannot be read"):
            _ = [chunk async for chunk in artifacts.stream(sha256)]

    @pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63 + "\n"])
    async def test_what_is_no_hash_reaches_nothing(self, artifacts: ArtifactStore, name: str) -> None:
        with pytest.raises(ArtifactError, match="is no SHA-256"):
            await artifacts.get_bytes(name)
        with pytest.raises(ArtifactError, match="is no SHA-256"):
            await artifacts.delete(name)

    @pytest.mark.parametrize("damaged", [b"fair", b"fai", b"fairy", b""])
    async def test_damaged_content_is_never_given(
        self, lab: ArtifactLab, artifacts: ArtifactStore, damaged: bytes
    ) -> None:
        sha256 = await artifacts.put_bytes(b"fine")
        lab.overwrite(sha256, damaged)

        with pytest.raises(ArtifactError, match=f"artifact {sha256} is damaged"):
            await artifacts.get_bytes(sha256)
        with pytest.raises(ArtifactError, match=f"artifact {sha256} is damaged"):
            _ = [chunk async for chunk in artifacts.stream(sha256)]

    async def test_stream_of_damaged_content_ends_before_its_last_chunk(
        self, lab: ArtifactLab, artifacts: ArtifactStore
    ) -> None:
        content = os.urandom(_LARGE_BYTES)
        sha256 = await artifacts.put_bytes(content)
        lab.overwrite(sha256, content[:-1] + bytes([content[-1] ^ 1]))
        received = 0

        async def receive() -> None:
            nonlocal received
            async for chunk in artifacts.stream(sha256):
                received += len(chunk)

        with pytest.raises(ArtifactError, match="damaged"):
            await receive()

        assert received < _LARGE_BYTES

    async def test_cut_off_content_is_replaced_by_the_next_write(
        self, lab: ArtifactLab, artifacts: ArtifactStore
    ) -> None:
        sha256 = await artifacts.put_bytes(b"whole")
        lab.overwrite(sha256, b"who")

        await artifacts.put_bytes(b"whole")

        assert await artifacts.get_bytes(sha256) == b"whole"

    async def test_deleted_content_is_gone_and_may_be_deleted_again(
        self, lab: ArtifactLab, artifacts: ArtifactStore
    ) -> None:
        sha256 = await artifacts.put_bytes(b"secret")
        kept = await artifacts.put_bytes(b"kept")

        await artifacts.delete(sha256)
        await artifacts.delete(sha256)

        assert not [name for name in lab.names() if sha256 in name]
        assert await artifacts.get_bytes(kept) == b"kept"
        assert await artifacts.put_bytes(b"secret") == sha256
        assert await artifacts.get_bytes(sha256) == b"secret"

    async def test_what_was_stored_lately_is_not_deleted_as_settled(
        self, lab: ArtifactLab, artifacts: ArtifactStore
    ) -> None:
        sha256 = await artifacts.put_bytes(b"content")

        assert not await artifacts.delete(sha256, settled_only=True)
        assert await artifacts.get_bytes(sha256) == b"content"
        lab.clock.advance(_SETTLED_SECONDS)
        assert await artifacts.delete(sha256, settled_only=True)
        assert lab.names() == []
        assert await artifacts.delete(sha256, settled_only=True)

    async def test_settled_content_is_told_and_nothing_else(
        self, lab: ArtifactLab, artifacts: ArtifactStore
    ) -> None:
        kept = {await artifacts.put_bytes(content) for content in (b"", b"a", b"b")}
        lab.leave_behind()
        assert [page async for page in artifacts.settled()] == []
        lab.clock.advance(_SETTLED_SECONDS)

        pages = [page async for page in artifacts.settled()]

        assert {sha256 for page in pages for sha256 in page} == kept

    async def test_sweep_removes_what_is_old_and_unfinished_and_nothing_else(
        self, lab: ArtifactLab, artifacts: ArtifactStore
    ) -> None:
        sha256 = await artifacts.put_bytes(b"kept")
        names = lab.names()
        lab.leave_behind()
        assert len(lab.names()) > len(names)
        assert await artifacts.sweep() == 0
        lab.clock.advance(timedelta(days=1, minutes=1).total_seconds())

        removed = await artifacts.sweep()

        assert removed == 1
        assert lab.names() == names
        assert await artifacts.get_bytes(sha256) == b"kept"

    async def test_check_leaves_nothing_behind(self, lab: ArtifactLab, artifacts: ArtifactStore) -> None:
        await artifacts.check()

        assert lab.names() == []

    @pytest.mark.parametrize("name", ["report.pdf", 'Ωμέγα "2026"; 100%.pdf', "a\r\nSet-Cookie: b/c\\d"])
    async def test_link_gives_the_content_as_an_attachment_if_there_are_links(
        self, lab: ArtifactLab, artifacts: ArtifactStore, name: str
    ) -> None:
        sha256 = await artifacts.put_bytes(b"%PDF")

        url = await artifacts.link(
            sha256, expires=_LINK_AGE, filename=name, media_type="application/pdf"
        )

        if url is not None:
            content, headers = await lab.download(url)
            assert content == b"%PDF"
            assert headers["content-type"] == "application/pdf"
            assert headers["content-disposition"].startswith("attachment; filename=")
            assert "set-cookie" not in headers
