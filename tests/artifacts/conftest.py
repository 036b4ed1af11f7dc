"""Both places for artifacts, each fresh and empty for every test."""

import asyncio
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from holdfast.artifacts import open_artifacts
from holdfast.artifacts.local import LocalArtifacts
from holdfast.artifacts.object_store import ObjectArtifacts, key_of
from holdfast.artifacts.s3 import S3Access
from holdfast.ids import new_id
from holdfast.testing.artifact_suite import ArtifactLab
from holdfast.testing.clock import ManualClock
from holdfast.testing.servers.s3 import S3


class LocalLab:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(datetime.now(UTC))

    @property
    def url(self) -> str:
        return str(self.folder)

    def open(self) -> LocalArtifacts:
        return LocalArtifacts(self.folder, self.clock)

    def names(self) -> list[str]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.folder)) for path in files)

    def overwrite(self, sha256: str, content: bytes) -> None:
        (self.folder / key_of(sha256)).write_bytes(content)

    def leave_behind(self) -> None:
        (self.folder / "incoming" / "put_old#1").write_bytes(b"half")

    async def download(self, url: str) -> tuple[bytes, dict[str, str]]:
        raise NotImplementedError("a folder has no links")


class S3Lab:
    def __init__(self, server: S3) -> None:
        self.clock = ManualClock(datetime.now(UTC))
        self.prefix = new_id("lab")
        self.url = f"s3://{server.bucket}/{self.prefix}"
        self.access = S3Access(
            endpoint=server.url,
            region=server.region,
            access_key_id=server.access_key,
            secret_access_key=server.secret_key,
            tries={"max_retries": 1, "retry_timeout": timedelta(seconds=5)},
        )
        self.raw = S3Store(
            server.bucket,
            prefix=self.prefix,
            config={
                "aws_endpoint_url_s3": server.url,
                "access_key_id": server.access_key,
                "secret_access_key": server.secret_key,
            },
            client_options={"allow_http": True},
        )

    def open(self) -> ObjectArtifacts:
        return open_artifacts(self.url, self.clock, access=self.access)

    def names(self) -> list[str]:
        return sorted(entry["path"] for page in obstore.list(self.raw) for entry in page)

    def overwrite(self, sha256: str, content: bytes) -> None:
        obstore.put(self.raw, key_of(sha256), content)

    def leave_behind(self) -> None:
        obstore.put(self.raw, "incoming/probe_old", b"holdfast probe")

    async def download(self, url: str) -> tuple[bytes, dict[str, str]]:
        def get() -> tuple[bytes, dict[str, str]]:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read(), {k.lower(): v for k, v in answer.headers.items()}

        return await asyncio.to_thread(get)


@pytest.fixture
def s3_lab(s3_server: S3) -> S3Lab:
    return S3Lab(s3_server)


@pytest.fixture
def local_lab(tmp_path: Path) -> LocalLab:
    return LocalLab(tmp_path / "artifacts")


@pytest.fixture(params=["local", "s3"])
def any_lab(request: pytest.FixtureRequest) -> ArtifactLab:
    found: ArtifactLab = request.getfixturevalue(f"{request.param}_lab")
    return found
