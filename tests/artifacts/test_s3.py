"""What holds for S3-compatible storage only: links, parts, refusals, endpoints in trouble."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import os
import socket
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from holdfast.artifacts import open_artifacts
from holdfast.artifacts.object_store import key_of
from holdfast.artifacts.s3 import S3Access
from holdfast.clock import SystemClock
from holdfast.errors import ArtifactError, ArtifactUnavailableError, ConfigError
from holdfast.ids import content_hash

if TYPE_CHECKING:
    from obstore.store import RetryConfig

LARGE = 20 * 1024**2
HOUR = timedelta(hours=1)
QUICK: RetryConfig = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {
        "init_backoff": timedelta(milliseconds=1),
        "max_backoff": timedelta(milliseconds=5),
        "base": 2,
    },
}


@pytest.fixture
def artifacts(s3_lab):
    return s3_lab.open()


def boto(server):
    import boto3  # type: ignore[import-untyped]

    return boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
    )


# --- up ------------------------------------------------------------------------------------


async def test_large_file_goes_up_in_equal_parts_under_checksums(s3_server, s3_lab, artifacts, tmp_path):
    """R2 refuses parts of different sizes."""
    (tmp_path / "large").write_bytes(os.urandom(LARGE))
    sha256, _ = await artifacts.put_file(tmp_path / "large")
    where = {"Bucket": s3_server.bucket, "Key": f"{s3_lab.prefix}/{key_of(sha256)}"}
    client = boto(s3_server)

    parts = [client.head_object(**where, PartNumber=n)["ContentLength"] for n in (1, 2, 3)]

    assert parts == [8 * 1024**2, 8 * 1024**2, 4 * 1024**2]
    assert client.head_object(**where, ChecksumMode="ENABLED")["ChecksumSHA256"]


async def test_upload_that_fails_leaves_no_parts(s3_server, artifacts, tmp_path, monkeypatch):
    path = tmp_path / "growing"
    path.write_bytes(bytes(LARGE))
    look = artifacts._size

    def look_and_change(sha256):
        with path.open("ab") as file:
            file.write(b"more")
        return look(sha256)

    monkeypatch.setattr(artifacts, "_size", look_and_change)

    with pytest.raises(ArtifactError, match="was changed"):
        await artifacts.put_file(path)
    assert "Uploads" not in boto(s3_server).list_multipart_uploads(Bucket=s3_server.bucket)


# --- links ---------------------------------------------------------------------------------


async def test_content_that_is_stored_again_is_written_again_to_count_as_new(
    s3_lab, artifacts, monkeypatch
):
    sha256 = await artifacts.put_bytes(b"content")
    s3_lab.clock.advance(120)
    written = []
    write = artifacts._write

    def noted(name, *rest):
        written.append(name)
        write(name, *rest)

    monkeypatch.setattr(artifacts, "_write", noted)

    await artifacts.put_bytes(b"content")

    assert written == [sha256]


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=-1), timedelta(days=7, seconds=1)])
async def test_link_for_a_time_that_cannot_be_is_refused(artifacts, expires):
    with pytest.raises(ArtifactError, match="one second to 7 days can be"):
        await artifacts.link("a" * 64, expires=expires, filename="x", media_type="text/plain")


async def test_link_leads_to_the_endpoint_that_browsers_reach(s3_lab):
    access = dataclasses.replace(s3_lab.access, public_endpoint="https://files.example.org/")
    artifacts = open_artifacts(s3_lab.url, s3_lab.clock, access=access)

    url = await artifacts.link("a" * 64, expires=HOUR, filename="x", media_type="text/plain")

    assert url is not None
    assert url.startswith(f"https://files.example.org/holdfast/{s3_lab.prefix}/aa/")
    assert f"X-Amz-Date={s3_lab.clock.now():%Y%m%dT%H%M%SZ}" in url
    assert s3_lab.access.secret_access_key not in urlsplit(url).query.split("&")


@pytest.fixture
def role(monkeypatch, tmp_path, unused_address):
    """The variables of a container with a role, whose key is at the given URL."""

    def set_to(url):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        (tmp_path / "token").write_text("token")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", unused_address)  # never leave this machine

    return set_to


async def test_link_of_a_role_whose_key_cannot_be_had_is_told(role, unused_address):
    role(unused_address)
    artifacts = open_artifacts("s3://bucket/x", SystemClock(), access=S3Access(tries=QUICK))

    with pytest.raises(ArtifactUnavailableError, match="no link to artifact aaa"):
        await artifacts.link("a" * 64, expires=HOUR, filename="x", media_type="text/plain")


async def test_link_of_a_role_is_signed_by_its_temporary_key(role):
    """The library asks for the role's key; it cannot sign the file's name, so there is none."""

    async def credentials(request):
        key = {"AccessKeyId": "ROLE", "SecretAccessKey": "S", "Token": "temporary"}
        return web.json_response({**key, "Expiration": "2099-01-01T00:00:00Z"})

    async with serving(credentials) as url:
        role(f"{url}/role")
        artifacts = open_artifacts("s3://bucket/x", SystemClock(), access=S3Access(region="eu-west-1"))
        found = await artifacts.link("a" * 64, expires=HOUR, filename="x", media_type="text/plain")

    assert found is not None
    assert found.startswith("https://s3.eu-west-1.amazonaws.com/bucket/x/aa/")
    assert "X-Amz-Credential=ROLE" in found
    assert "X-Amz-Security-Token=temporary" in found


# --- a setup that cannot work --------------------------------------------------------------


@pytest.fixture
def guarded(s3_server):
    """The server asks everybody for a key that it knows; it knows none."""
    _guard(s3_server, b"0")
    yield
    _guard(s3_server, b"inf")


def _guard(server, after: bytes) -> None:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("POST", "/moto-api/reset-auth", after, {"Content-Type": "text/plain"})
    assert connection.getresponse().status == 200
    connection.close()


async def test_wrong_bucket_is_told_at_start_and_later(s3_server, s3_lab):
    artifacts = open_artifacts("s3://no-such-bucket/x", SystemClock(), access=s3_lab.access)

    with pytest.raises(ConfigError, match=r"s3://no-such-bucket/x .*NoSuchBucket; check the bucket"):
        await artifacts.check()
    with pytest.raises(ArtifactError, match=r"cannot be written to .*NoSuchBucket"):
        await artifacts.put_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"cannot be read from .*NoSuchBucket"):
        await artifacts.get_bytes(content_hash(b"x"))
    with pytest.raises(ArtifactError, match="left-overs cannot be removed"):
        await artifacts.sweep()


async def test_wrong_key_is_told_at_start_and_later(artifacts, guarded):
    with pytest.raises(ConfigError, match=r"InvalidAccessKeyId; check .* the key"):
        await artifacts.check()
    with pytest.raises(
        ArtifactError, match=r"cannot be looked up in .*: the endpoint refuses"
    ) as caught:
        await artifacts.put_bytes(b"x")
    assert not caught.value.transient


@pytest.fixture
def unused_address():
    """An address that nobody listens on, held so that nobody else takes it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


async def test_endpoint_that_cannot_be_reached_is_told_as_passing(unused_address):
    artifacts = at(unused_address)

    with pytest.raises(ArtifactUnavailableError, match="the endpoint cannot be reached; see that"):
        await artifacts.check()
    with pytest.raises(ArtifactUnavailableError):
        await artifacts.put_bytes(b"x")
    with pytest.raises(ArtifactUnavailableError):
        await artifacts.get_bytes(content_hash(b"x"))


# --- an endpoint in trouble ----------------------------------------------------------------


class serving:  # noqa: N801 - reads as what it does
    """An HTTP server with one handler for everything, for the length of a block."""

    def __init__(self, handler) -> None:
        application = web.Application(client_max_size=LARGE)
        application.router.add_route("*", "/{path:.*}", handler)
        self._runner = web.AppRunner(application)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *error) -> None:
        await self._runner.cleanup()


def at(endpoint):
    access = S3Access(endpoint=endpoint, access_key_id="AK", secret_access_key="SK", tries=QUICK)
    return open_artifacts("s3://bucket", SystemClock(), access=access)


async def test_trouble_that_passes_is_tried_again_within_bounds():
    kept: dict[str, bytes] = {}
    refusals: Counter[tuple[str, str]] = Counter()

    async def flaky(request):
        body = await request.read()
        refusals[request.method, request.path] += 1
        if refusals[request.method, request.path] <= 2:
            return web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>")
        if request.method == "PUT":
            kept[request.path] = body
        if request.path not in kept:
            return web.Response(status=404)
        headers = {"ETag": '"1"', "Last-Modified": "Fri, 01 Jan 2027 00:00:00 GMT"}
        return web.Response(body=kept[request.path], headers=headers)

    async with serving(flaky) as url:
        sha256 = await at(url).put_bytes(b"patient")
        assert await at(url).get_bytes(sha256) == b"patient"
    assert refusals["PUT", f"/bucket/{key_of(sha256)}"] == 3


async def test_trouble_that_stays_is_told_after_a_bounded_number_of_tries():
    asked = 0

    async def down(request):
        nonlocal asked
        asked += 1
        return web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>")

    async with serving(down) as url:
        with pytest.raises(ArtifactUnavailableError, match="the endpoint answers SlowDown"):
            await at(url).get_bytes(content_hash(b"x"))

    assert asked == 1 + QUICK["max_retries"]


async def test_download_that_is_cut_off_is_tried_again_or_told_but_never_short():
    content = os.urandom(1_000_000)
    cut = 0

    async def cutting(request):
        nonlocal cut
        headers = {"ETag": '"1"', "Last-Modified": "Fri, 01 Jan 2027 00:00:00 GMT"}
        response = web.StreamResponse(headers={**headers, "Content-Length": str(len(content))})
        await response.prepare(request)
        if request.method == "GET":
            cut += 1
            await response.write(content[:400_000])
            request.transport.close()
        return response

    async with serving(cutting) as url:
        with pytest.raises(ArtifactError):
            await at(url).get_bytes(content_hash(content))
        with pytest.raises(ArtifactError):
            _ = [chunk async for chunk in at(url).stream(content_hash(content))]

    assert cut >= 2


async def test_loop_goes_on_while_files_are_moved(artifacts, tmp_path):
    (tmp_path / "large").write_bytes(bytes(LARGE))
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await artifacts.put_file(tmp_path / "large")
    counting.cancel()

    assert turns > 100
