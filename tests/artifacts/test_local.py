"""What holds for a folder only: durability, and the trouble of disks."""

import errno
import os
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.artifacts import local
from holdfast.artifacts.base import SETTLED_AFTER
from holdfast.artifacts.local import LocalArtifacts
from holdfast.artifacts.object_store import key_of
from holdfast.clock import SystemClock
from holdfast.errors import ArtifactError, ArtifactUnavailableError, ConfigError
from holdfast.ids import content_hash


@pytest.fixture
def artifacts(local_lab):
    return local_lab.open()


async def test_every_artifact_is_synced_before_and_after_its_name_appears(artifacts, monkeypatch):
    """A name that exists is trusted, so its content must be durable first."""
    synced = []
    fsync = local._fsync

    def noted(path):
        published = (artifacts.folder / key_of(content_hash(b"x"))).exists()
        synced.append((path.parent.name if path.is_file() else path.name, published))
        fsync(path)

    monkeypatch.setattr(local, "_fsync", noted)
    await artifacts.put_bytes(b"x")

    prefix = content_hash(b"x")[:2]
    assert synced == [("incoming", False), (prefix, True), ("artifacts", True)]


async def test_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ArtifactError, match="cannot be created: Not a directory"):
        LocalArtifacts(tmp_path / "file", SystemClock())


async def test_write_that_is_refused_leaves_nothing_visible(local_lab, artifacts):
    (artifacts.folder / "incoming").rmdir()
    (artifacts.folder / "incoming").write_text("in the way")

    with pytest.raises(ArtifactError, match=r"cannot be written to folder .*: .*; let this user write"):
        await artifacts.put_bytes(b"x")
    with pytest.raises(ConfigError, match=r"cannot be used: .*; let this user write"):
        await artifacts.check()
    assert local_lab.names() == ["incoming"]


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, ArtifactUnavailableError), (errno.EROFS, ArtifactError)]
)
async def test_sync_that_fails_leaves_nothing_visible(artifacts, monkeypatch, number, expected):
    def broken(path):
        raise OSError(number, "trouble")

    monkeypatch.setattr(local, "_fsync", broken)

    with pytest.raises(ArtifactError, match=r"cannot be written to .*: trouble") as caught:
        await artifacts.put_bytes(b"x")
    assert type(caught.value) is expected
    with pytest.raises(ArtifactError, match="restore the artifact folder"):
        await artifacts.get_bytes(content_hash(b"x"))


async def test_delete_that_fails_is_told(artifacts):
    sha256 = content_hash(b"x")
    (artifacts.folder / key_of(sha256)).mkdir(parents=True)

    with pytest.raises(ArtifactError, match=f"artifact {sha256} cannot be deleted"):
        await artifacts.delete(sha256)


def make_old(artifacts, sha256):
    stamp = (datetime.now(UTC) - 2 * SETTLED_AFTER).timestamp()
    os.utime(artifacts.folder / key_of(sha256), (stamp, stamp))


async def test_content_that_is_stored_again_counts_as_new(artifacts):
    sha256 = await artifacts.put_bytes(b"content")
    make_old(artifacts, sha256)
    assert [page async for page in artifacts.settled()] == [[sha256]]

    await artifacts.put_bytes(b"content")

    assert [page async for page in artifacts.settled()] == []
    assert not await artifacts.delete(sha256, settled_only=True)
    assert await artifacts.get_bytes(sha256) == b"content"


async def test_content_that_is_stored_again_while_it_is_being_deleted_stays(
    local_lab, artifacts, monkeypatch
):
    """The moment between looking at the date and deleting is nobody's trap."""
    sha256 = await artifacts.put_bytes(b"content")
    make_old(artifacts, sha256)
    look = local._stored_at

    def look_and_renew(path):
        found = look(path)
        if path.name == sha256:
            assert artifacts._renew(sha256)
        return found

    monkeypatch.setattr(local, "_stored_at", look_and_renew)

    assert not await artifacts.delete(sha256, settled_only=True)
    assert await artifacts.get_bytes(sha256) == b"content"
    assert local_lab.names() == [key_of(sha256)]


async def test_content_that_vanishes_while_it_is_stored_again_is_written(artifacts, monkeypatch):
    sha256 = await artifacts.put_bytes(b"content")
    look = artifacts._size

    def look_and_delete(wanted):
        found = look(wanted)
        monkeypatch.setattr(artifacts, "_size", look)
        (artifacts.folder / key_of(sha256)).unlink()
        return found

    monkeypatch.setattr(artifacts, "_size", look_and_delete)

    assert await artifacts.put_bytes(b"content") == sha256
    assert await artifacts.get_bytes(sha256) == b"content"


async def test_listing_of_a_folder_that_is_gone_finds_nothing(local_lab, artifacts):
    shutil.rmtree(local_lab.folder)

    assert [page async for page in artifacts.settled()] == []


async def test_folder_has_no_links(artifacts):
    sha256 = await artifacts.put_bytes(b"x")

    found = await artifacts.link(
        sha256, expires=timedelta(hours=1), filename="x.txt", media_type="text/plain"
    )

    assert found is None


async def test_sweep_of_a_folder_that_is_gone_is_told(artifacts):
    (artifacts.folder / "incoming").rmdir()

    with pytest.raises(ArtifactError, match="left-overs cannot be removed"):
        await artifacts.sweep()
