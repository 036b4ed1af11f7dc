"""The example configuration under a real nginx, in front of a real service."""

import asyncio
import contextlib
import json
import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from websockets.asyncio.client import connect

from holdfast import JobContext
from holdfast.model import JobStatus
from holdfast.testing.harness import Harness
from holdfast.testing.servers.nginx import Nginx
from holdfast.testing.service import RunningService, running_service
from holdfast.testing.signals import PATIENCE_SECONDS, Gate
from holdfast.testing.sse import opened_stream

pytestmark = pytest.mark.requires("nginx")

CONF = Path(__file__).parents[2] / "deploy" / "nginx" / "holdfast.conf"


def replaced(text: str, pattern: str, by: str) -> str:
    """Replace what must be there."""
    found, count = re.subn(pattern, by, text, flags=re.MULTILINE)
    assert count, f"{pattern!r} is not in {CONF.name}"
    return found


def site(backend: str, port: int, folder: Path, **changes: str) -> str:
    """The file as it is shipped, but on a port of ours, without TLS, and with changes to directives."""
    text = replaced(CONF.read_text(), r"server 127\.0\.0\.1:8000;", f"server {backend};")
    text = replaced(text, r"listen 443 ssl http2;", f"listen 127.0.0.1:{port};")
    text = replaced(text, r"^ *ssl_.*\n", "")
    text = replaced(text, r"/var/log/nginx", str(folder))
    for directive, value in changes.items():
        text = replaced(text, rf"{directive} [^;]+;", f"{directive} {value};")
    return text


def with_tls(backend: str, port: int, folder: Path) -> str:
    """The file with nothing changed but ports and paths."""
    text = replaced(CONF.read_text(), r"server 127\.0\.0\.1:8000;", f"server {backend};")
    text = replaced(text, r"listen 443 ", f"listen 127.0.0.1:{port} ")
    return replaced(text, r"/etc/ssl/holdfast|/var/log/nginx", str(folder))


@contextlib.contextmanager
def nginx_before(running: RunningService, **changes: str) -> Iterator[Nginx]:
    def described(port: int) -> str:
        return site(running.url.removeprefix("http://"), port, server.folder, **changes)

    server = Nginx(described)
    with server:
        yield server


class Talk:
    """A job that says one thing each time it is let through."""

    def __init__(self) -> None:
        self.gates = [Gate() for _ in range(3)]

    async def __call__(self, job: JobContext) -> None:
        for number, gate in enumerate(self.gates):
            await gate.through()
            await job.step(f"word/{number}", asyncio.sleep, 0)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness(tmp_path) as harness:
        yield harness


@pytest.fixture
async def talk(harness: Harness) -> Talk:
    talk = Talk()

    async def function(job: JobContext) -> None:
        await talk(job)

    harness.job("talk", function)
    return talk


def through(server: Nginx, key: str = "") -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.AsyncClient(base_url=server.url, headers=headers, trust_env=False)


async def test_events_come_one_by_one_through_nginx(harness, talk):
    job_id = await harness.submit("talk")
    await harness.start_worker()
    seen = []
    closed = list(talk.gates)

    async with running_service(harness) as running:
        with nginx_before(running) as server:
            async with (
                asyncio.timeout(PATIENCE_SECONDS),
                through(server, await running.key()) as http,
                opened_stream(http, job_id) as stream,
            ):
                async for sent in stream:
                    seen.append(sent.event)
                    # The next one is not even stored before this one has arrived.
                    if sent.event in {"attempt.started", "step.completed"} and closed:
                        closed.pop(0).open()

    assert seen[1:] == ["job.queued", "attempt.started", *["step.completed"] * 3, "job.completed", "end"]


async def test_heartbeats_keep_a_quiet_stream_open(harness, talk):
    """nginx gives up what is silent for a second here; the job says nothing for several."""
    job_id = await harness.submit("talk")
    seen = []

    async with running_service(harness, heartbeat_seconds=0.2) as running:
        with nginx_before(running, proxy_read_timeout="1s") as server:
            async with (
                asyncio.timeout(PATIENCE_SECONDS),
                through(server, await running.key()) as http,
                opened_stream(http, job_id) as stream,
            ):
                async for sent in stream:
                    seen.append(sent)
                    if len(seen) == 14:
                        break

    assert [sent.comment for sent in seen[2:]] == ["still here"] * 12


async def test_silent_stream_is_cut_and_resumed_without_loss(harness, talk):
    """What nginx cuts, or loses by dying, the client picks up behind the last event that it has."""
    job_id = await harness.submit("talk")
    seen: list[int] = []
    ends = []

    async def read(http: httpx2.AsyncClient) -> None:
        known = {"Last-Event-ID": str(seen[-1])} if seen else {}
        with contextlib.suppress(httpx2.TransportError):
            async with opened_stream(http, job_id, **known) as stream:
                async for sent in stream:
                    seen.extend([int(sent.id)] if sent.id else [])
                    ends.extend(["end"] if sent.event == "end" else [])

    async with running_service(harness) as running:
        with nginx_before(running, proxy_read_timeout="1s") as server:
            async with asyncio.timeout(PATIENCE_SECONDS), through(server, await running.key()) as http:
                await read(http)
                cut = list(seen)
                await harness.start_worker()
                for gate in talk.gates:
                    gate.open()
                await harness.end_of(job_id)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                await read(http)

    assert cut == [1]
    assert (seen, ends) == (list(range(1, 7)), ["end"])


async def test_websocket_goes_through_nginx_and_cancels(harness, talk):
    job_id = await harness.submit("talk")

    async with running_service(harness) as running:
        with nginx_before(running) as server:
            url = f"{server.url.replace('http', 'ws')}/api/v1/jobs/{job_id}/ws"
            known = {"Authorization": f"Bearer {await running.key()}"}
            async with (
                asyncio.timeout(PATIENCE_SECONDS),
                connect(url, additional_headers=known) as socket,
            ):
                await socket.send('{"type": "cancel"}')
                told = [json.loads(message)["type"] async for message in socket]

    assert (await harness.client.get(job_id)).status is JobStatus.CANCELLED
    assert told == ["job.queued", "job.cancel_requested", "job.cancelled"]
    assert socket.close_code == 1000


async def test_tokens_in_urls_are_not_in_the_access_log(harness, talk):
    job_id = await harness.submit("talk")

    async with running_service(harness) as running:
        token = running.service.tokens.for_job(job_id)
        with nginx_before(running) as server:
            async with through(server) as http:
                answer = await http.get(f"/api/v1/jobs/{job_id}?token={token}")
            await asyncio.to_thread(server.stop)
            log = (server.folder / "holdfast.log").read_text()

    assert answer.status_code == 200
    assert job_id in log
    assert token not in log


@pytest.mark.requires("openssl")
async def test_file_as_it_is_speaks_tls(harness, talk):
    job_id = await harness.submit("talk")

    async with running_service(harness) as running:
        key, backend = await running.key(), running.url.removeprefix("http://")
        server = Nginx(lambda port: with_tls(backend, port, server.folder))
        make_certificate(server.folder)
        with server:
            context = ssl.create_default_context(cafile=server.folder / "fullchain.pem")
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=context, server_hostname="holdfast.example"
            )
            asked = f"GET /api/v1/jobs/{job_id} HTTP/1.1\r\nhost: holdfast.example\r\n"
            writer.write(f"{asked}authorization: Bearer {key}\r\nconnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert job_id.encode() in answer


def make_certificate(folder: Path) -> None:
    made = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=holdfast.example".split()
    names = ["-addext", "subjectAltName=DNS:holdfast.example"]
    files = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(["openssl", *made, *names, *files], check=True, capture_output=True)
    # nginx runs under another account.
    (folder / "privkey.pem").chmod(0o644)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", None])
async def test_nobody_is_local_behind_nginx(harness, talk, host):
    """A client can claim any host; what comes through a proxy needs a key all the same."""
    job_id = await harness.submit("talk")

    async with running_service(harness, open_access=True) as running:
        with nginx_before(running) as server:
            async with through(server) as http:
                known = {} if host is None else {"Host": host}
                answer = await http.get(f"/api/v1/jobs/{job_id}", headers=known)

    assert answer.status_code == 401
