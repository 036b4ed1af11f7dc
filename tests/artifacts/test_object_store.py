import os
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.artifacts import object_store
from holdfast.artifacts.object_store import LocalArtifacts
from holdfast.clock import SystemClock
from holdfast.errors import ArtifactError
from holdfast.ids import content_hash
from holdfast.testing.clock import ManualClock


@pytest.fixture
def artifacts(tmp_path):
    return LocalArtifacts(tmp_path / "artifacts", SystemClock())


def incoming(artifacts):
    return list((artifacts.folder / "incoming").iterdir())


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=2_000))
async def test_content_comes_back_under_its_hash(artifacts, content):
    sha256 = await artifacts.put_bytes(content)

    assert sha256 == content_hash(content)
    assert await artifacts.get_bytes(sha256) == content
    assert incoming(artifacts) == []


async def test_file_is_copied_and_streamed_in_bounded_chunks(artifacts, tmp_path, monkeypatch):
    monkeypatch.setattr(object_store, "_CHUNK_BYTES", 1000)
    path = tmp_path / "book.pdf"
    path.write_bytes(os.urandom(100_000))

    sha256, size = await artifacts.put_file(path)
    chunks = [chunk async for chunk in artifacts.stream(sha256)]

    assert (sha256, size) == (content_hash(path.read_bytes()), 100_000)
    assert b"".join(chunks) == path.read_bytes()


async def test_same_content_is_written_once(artifacts, tmp_path, monkeypatch):
    path = tmp_path / "same"
    path.write_bytes(b"same")
    first = await artifacts.put_bytes(b"same")
    monkeypatch.setattr(artifacts, "_upload", None)

    assert await artifacts.put_bytes(b"same") == first
    assert await artifacts.put_file(path) == (first, 4)


async def test_every_artifact_is_synced_before_and_after_its_name_appears(artifacts, monkeypatch):
    """A name that exists is trusted, so its content must be durable first."""
    synced = []
    fsync = object_store._fsync

    def noted(path):
        published = (artifacts.folder / object_store._key(content_hash(b"x"))).exists()
        synced.append((path.parent.name if path.is_file() else path.name, published))
        fsync(path)

    monkeypatch.setattr(object_store, "_fsync", noted)
    await artifacts.put_bytes(b"x")

    prefix = content_hash(b"x")[:2]
    assert synced == [("incoming", False), (prefix, True), ("artifacts", True)]


async def test_file_that_is_not_there_is_told(artifacts, tmp_path):
    with pytest.raises(ArtifactError, match=r"missing' cannot be read: No such file"):
        await artifacts.put_file(tmp_path / "missing")


async def test_artifact_that_is_not_there_is_told(artifacts):
    sha256 = content_hash(b"never")

    with pytest.raises(ArtifactError, match=f"artifact {sha256} cannot be read"):
        await artifacts.get_bytes(sha256)
    with pytest.raises(ArtifactError, match="restore the artifact folder"):
        _ = [chunk async for chunk in artifacts.stream(sha256)]


async def test_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ArtifactError, match="cannot be created: Not a directory"):
        LocalArtifacts(tmp_path / "file", SystemClock())


async def test_write_that_is_refused_leaves_nothing_visible(artifacts):
    (artifacts.folder / "incoming").rmdir()
    (artifacts.folder / "incoming").write_text("in the way")

    with pytest.raises(ArtifactError, match="refused a write"):
        await artifacts.put_bytes(b"x")
    with pytest.raises(ArtifactError):
        await artifacts.get_bytes(content_hash(b"x"))


async def test_sync_that_fails_leaves_nothing_visible(artifacts, monkeypatch):
    def broken(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(object_store, "_fsync", broken)

    with pytest.raises(ArtifactError, match="could not be made durable"):
        await artifacts.put_bytes(b"x")
    with pytest.raises(ArtifactError):
        await artifacts.get_bytes(content_hash(b"x"))


async def test_sweep_removes_old_leftovers_and_nothing_else(tmp_path):
    from datetime import UTC, datetime

    clock = ManualClock(datetime.now(UTC))
    artifacts = LocalArtifacts(tmp_path, clock)
    kept = await artifacts.put_bytes(b"kept")
    (tmp_path / "incoming" / "put_old").write_bytes(b"half")
    assert await artifacts.sweep() == 0
    clock.advance(timedelta(days=1, minutes=1).total_seconds())

    assert await artifacts.sweep() == 1
    assert incoming(artifacts) == []
    assert await artifacts.get_bytes(kept) == b"kept"
