"""What the suite cannot see from outside, for both places."""

import asyncio
import threading

import obstore
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.artifacts import object_store, open_artifacts
from holdfast.artifacts.s3 import S3Access, S3Artifacts
from holdfast.clock import SystemClock
from holdfast.errors import ArtifactError, ArtifactUnavailableError, ConfigError
from holdfast.ids import content_hash

LARGE = 20 * 1024**2


@pytest.fixture
def artifacts(any_lab):
    return any_lab.open()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=2_000))
async def test_any_content_comes_back_under_its_hash(local_lab, content):
    artifacts = local_lab.open()

    sha256 = await artifacts.put_bytes(content)

    assert sha256 == content_hash(content)
    assert await artifacts.get_bytes(sha256) == content


async def test_content_that_is_there_is_not_written_again(artifacts, tmp_path, monkeypatch):
    (tmp_path / "same").write_bytes(b"same")
    first = await artifacts.put_bytes(b"same")
    monkeypatch.setattr(artifacts, "_write", None)

    assert await artifacts.put_bytes(b"same") == first
    assert await artifacts.put_file(tmp_path / "same") == (first, 4)


@pytest.mark.parametrize("size", [1_000, LARGE])
async def test_file_that_changes_while_it_is_stored_is_refused(
    any_lab, artifacts, tmp_path, monkeypatch, size
):
    path = tmp_path / "growing"
    path.write_bytes(bytes(size))
    look = artifacts._size

    def look_and_change(sha256):
        with path.open("ab") as file:
            file.write(b"more")
        return look(sha256)

    monkeypatch.setattr(artifacts, "_size", look_and_change)

    with pytest.raises(ArtifactError, match=r"growing' was changed while it was stored"):
        await artifacts.put_file(path)
    assert any_lab.names() == []


async def test_upload_of_a_cancelled_step_ends_and_leaves_nothing(
    any_lab, artifacts, tmp_path, monkeypatch
):
    (tmp_path / "large").write_bytes(bytes(LARGE))
    looked_up, cancelled = threading.Event(), threading.Event()

    def wait_there(sha256):
        looked_up.set()
        cancelled.wait(10)

    monkeypatch.setattr(artifacts, "_size", wait_there)
    task = asyncio.create_task(artifacts.put_file(tmp_path / "large"))
    await asyncio.to_thread(looked_up.wait, 10)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    cancelled.set()
    await asyncio.to_thread(artifacts._threads.shutdown)

    assert any_lab.names() == []


async def test_write_that_did_not_arrive_in_full_is_told(artifacts, monkeypatch):
    monkeypatch.setattr(artifacts, "_write", lambda *call: None)

    with pytest.raises(ArtifactUnavailableError, match=r"has None bytes in .* after 1 were written"):
        await artifacts.put_bytes(b"x")


async def test_very_large_files_go_up_in_as_many_parts_as_are_allowed(artifacts, monkeypatch):
    monkeypatch.setattr(object_store, "_PART_BYTES", 2)
    monkeypatch.setattr(object_store, "_PARTS_MAX", 10)
    parts = []
    monkeypatch.setattr(artifacts, "_write", lambda sha256, content, part: parts.append(part))

    for size in (20, 21, 100):
        with pytest.raises(ArtifactUnavailableError):
            await artifacts.put_bytes(bytes(size))

    assert parts == [2, 3, 10]


async def test_check_tells_when_content_is_changed_on_the_way(artifacts, monkeypatch):
    put = obstore.put
    monkeypatch.setattr(obstore, "put", lambda store, key, content: put(store, key, b"?"))

    with pytest.raises(ConfigError, match="gave back other bytes than were written"):
        await artifacts.check()


# --- which place ---------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["gs://bucket/x", "http://key:secret@host/x", "S3://bucket"])
def test_place_of_another_kind_is_refused_without_showing_it(url):
    with pytest.raises(ConfigError, match="is not supported") as caught:
        open_artifacts(url, SystemClock())

    assert "secret" not in str(caught.value)


ACCESS = S3Access(access_key_id="AK", secret_access_key="very-secret", endpoint="https://s3.example.org")


def test_bucket_and_prefix_are_taken_from_the_url():
    found = open_artifacts("s3://bucket/a/b/", SystemClock(), access=ACCESS)

    assert isinstance(found, S3Artifacts)
    assert found.place == "s3://bucket/a/b at s3.example.org"
    assert "very-secret" not in repr(ACCESS)


@pytest.mark.parametrize(
    ("url", "access", "message"),
    [
        ("s3://", ACCESS, "names a bucket as no bucket can be called"),
        ("s3://key:secret@bucket", ACCESS, "names a bucket as no bucket can be called"),
        ("s3://bucket", S3Access(access_key_id="AK"), "only one half"),
        ("s3://bucket", S3Access(secret_access_key="secret"), "only one half"),
        ("s3://bucket", S3Access(endpoint="https://x.example"), "'x.example' needs a key"),
        *(
            (
                "s3://bucket",
                S3Access(access_key_id="AK", secret_access_key="SK", endpoint=endpoint),
                "endpoint is no usable URL",
            )
            for endpoint in ["x.example", "ftp://x", "http://u:secret@x", "http://x:port", "http://x?y"]
        ),
        (
            "s3://bucket",
            S3Access(access_key_id="AK", secret_access_key="SK", public_endpoint="cdn.example"),
            "endpoint is no usable URL",
        ),
    ],
)
def test_access_that_cannot_be_right_is_told_at_start(url, access, message):
    with pytest.raises(ConfigError, match=message) as caught:
        open_artifacts(url, SystemClock(), access=access)

    assert "secret" not in str(caught.value)
