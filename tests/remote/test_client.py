"""What the client of a service does by itself: addresses, errors, attempts, timeouts, bounds."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from holdfast.errors import (
    AccessDeniedError,
    ArtifactError,
    ConfigError,
    HoldfastError,
    InvalidInputError,
    JobFinishedError,
    JobNotFoundError,
    NotAuthenticatedError,
    RequestError,
    ServiceUnavailableError,
    TooManyRequestsError,
    ValueTooLargeError,
)
from holdfast.jobs import Jobs
from holdfast.model import Artifact, Job, JobStatus
from holdfast.remote import Client, transport
from holdfast.server.access import Action
from holdfast.server.examples import JOB
from holdfast.settings import overridden
from holdfast.store.base import JobQuery
from holdfast.testing.signals import Gate
from tests.remote.answering import Answer, NoTime, Service, problem, told
from tests.remote.conftest import with_kinds

# addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://jobs.example/", "https://jobs.example"),
        ("https://shop.example/holdfast/", "https://shop.example/holdfast"),
        ("https://shop.example/holdfast/api/v1", "https://shop.example/holdfast"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_url_is_the_base_of_a_service(url: str, shown: str):
    assert str(Client(url)._transport.address) == shown


@pytest.mark.parametrize(
    "url", ["jobs.example", "ftp://jobs.example", "https://", "http://[::1", "", "http://h:x"]
)
def test_url_that_is_none_of_a_service_is_refused(url: str):
    with pytest.raises(ConfigError, match="URL"):
        Client(url)


def test_secret_in_the_url_is_refused_and_not_quoted():
    with pytest.raises(ConfigError) as caught:
        Client("https://ada:hunter2@jobs.example")

    assert "hunter2" not in str(caught.value)


def test_url_and_key_come_from_the_settings(monkeypatch):
    monkeypatch.setenv("HOLDFAST_URL", "https://jobs.example")
    monkeypatch.setenv("HOLDFAST_API_KEY", "hf_secret")

    client = Client()

    assert str(client._transport.address) == "https://jobs.example"
    assert client._transport._http.headers["Authorization"] == "Bearer hf_secret"
    assert "Authorization" not in Client("https://other.example")._transport._http.headers


async def test_proxy_of_the_environment_is_not_for_a_service_nearby(running, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    async with Client(running.url, await running.key(), clock=NoTime()) as near:
        assert await near.list() == []


def test_no_url_at_all_is_told():
    with overridden(url=""), pytest.raises(ConfigError, match="set HOLDFAST_URL"):
        Client()


@pytest.mark.parametrize("key", ["käse", "a b", "a\nb"])
def test_key_that_cannot_be_sent_is_refused_and_not_quoted(key: str):
    with pytest.raises(ConfigError) as caught:
        Client("https://jobs.example", key)

    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://jobs.example", True),
        ("http://8.8.8.8", True),
        ("https://jobs.example", False),
        ("http://localhost:8000", False),
        ("http://10.1.2.3", False),
        ("http://holdfast.prod.svc", False),
        ("http://holdfast", False),
    ],
)
def test_key_without_tls_on_a_public_network_is_warned_of(url: str, warned: bool, caplog):
    Client(url, "hf_key")

    assert ("key is sent without TLS" in caplog.text) == warned
    assert "hf_key" not in caplog.text


# errors --------------------------------------------------------------------------------------


async def test_problem_becomes_the_exception_of_its_code():
    service = Service(
        problem(
            409, "job_finished", detail="job 'j' cannot retry", hint="fork it", details={"job_id": "j"}
        )
    )

    with pytest.raises(JobFinishedError) as caught:
        await service.client.retry("j")

    assert str(caught.value) == "job 'j' cannot retry; fork it"
    assert (caught.value.job_id, caught.value.hint, caught.value.code) == (
        "j",
        "fork it",
        "job_finished",
    )


async def test_unknown_code_is_kept():
    with pytest.raises(HoldfastError) as caught:
        await Service(problem(418, "teapot")).client.get("j")

    assert (type(caught.value), caught.value.code) == (HoldfastError, "teapot")


async def test_fields_of_a_problem_cannot_change_what_an_error_is():
    details = {"code": "x", "message": "x", "transient": True, "args": "x", "__class__": "x", "key": "k"}

    with pytest.raises(JobNotFoundError) as caught:
        await Service(problem(404, "job_not_found", details=details)).client.get("j")

    error: Any = caught.value
    assert (error.code, error.message, error.transient, error.key) == (
        "job_not_found",
        "it is so",
        False,
        "k",
    )


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: httpx2.Response(200, html="<h1>Welcome to nginx!</h1>"),
        lambda _: httpx2.Response(404, html="<h1>Not found</h1>"),
        lambda _: httpx2.Response(200, json={"hello": "world"}),
        lambda _: httpx2.Response(500, text="oops"),
        lambda _: httpx2.Response(401, text="who?"),
        lambda _: httpx2.Response(
            404, content=b"{}", headers={"Content-Type": "application/problem+json"}
        ),
    ],
)
async def test_whatever_is_no_holdfast_is_told_so(answer: Answer):
    with pytest.raises(ConfigError, match="does not answer as Holdfast does"):
        await Service(answer).client.get("j")


async def test_redirect_is_told_and_not_followed():
    service = Service(
        lambda _: httpx2.Response(301, headers={"Location": "https://u:p@jobs.example/x?token=secret"})
    )

    with pytest.raises(ConfigError, match=r"sends on to https://jobs\.example/x; use the URL") as caught:
        await service.client.get("j")

    assert "secret" not in str(caught.value)
    assert len(service.requests) == 1


# attempts ------------------------------------------------------------------------------------


async def test_answer_that_was_lost_is_asked_for_again_under_the_same_key():
    service = Service(httpx2.ReadError("cut"), told(202))

    job = await service.client.submit("report", {"topic": "tides"})

    keys = {request.headers["Idempotency-Key"] for request in service.requests}
    assert job.job_id == JOB["job_id"]
    assert (len(service.requests), len(keys)) == (2, 1)


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_look_at_a_service_that_is_away_for_a_moment_is_repeated(status: int):
    service = Service(lambda _: httpx2.Response(status, text="away"), told())

    assert (await service.client.get("j")).job_id == JOB["job_id"]


@pytest.mark.parametrize("verb", ["retry", "fork"])
async def test_what_must_not_happen_twice_is_not_repeated_once_it_may_have_happened(verb: str):
    for trouble in (httpx2.ReadError("cut"), problem(503, "store_unavailable")):
        service = Service(trouble)
        with pytest.raises(HoldfastError):
            await getattr(service.client, verb)("j")
        assert len(service.requests) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        httpx2.ConnectError("refused"),
        problem(429, "too_many_requests"),
        problem(408, "request_timeout"),
        lambda _: httpx2.Response(408, html="<h1>Request Timeout</h1>"),
    ],
)
async def test_what_certainly_has_not_happened_is_tried_again(trouble):
    service = Service(trouble, told(202))

    await service.client.retry("j")

    assert len(service.requests) == 2


async def test_attempts_have_an_end_and_the_last_error_is_told():
    service = Service(httpx2.ConnectError("All connection attempts failed"))

    with pytest.raises(ServiceUnavailableError, match=r"127.0.0.1:1 cannot be reached \(All connection"):
        await service.client.get("j")

    assert len(service.requests) == transport.ATTEMPTS_MAX
    assert sum(service.clock.slept) < 3


async def test_retry_after_is_waited_for():
    service = Service(problem(429, "too_many_requests", headers={"Retry-After": "7"}), told())

    await service.client.get("j")

    assert 7 < service.clock.slept[0] < 8


async def test_service_that_wants_to_be_left_alone_for_long_is_not_waited_for():
    service = Service(problem(429, "too_many_requests", headers={"Retry-After": "3600"}))

    with pytest.raises(TooManyRequestsError):
        await service.client.get("j")

    assert service.clock.slept == []


async def test_http_to_a_service_with_tls_is_hinted_at():
    with pytest.raises(ServiceUnavailableError, match="begins with https://"):
        await Service(httpx2.RemoteProtocolError("Server disconnected")).client.get("j")


async def test_answer_that_is_too_large_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(transport, "_ANSWER_BYTES_MAX", 100)

    with pytest.raises(ValueTooLargeError, match="larger than 100 bytes"):
        await Service(told()).client.get("j")


async def test_answer_that_trickles_for_ever_has_an_end(monkeypatch):
    monkeypatch.setattr(transport, "ANSWER_SECONDS", 0.01)

    class Trickle(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

    service = Service(lambda _: httpx2.Response(200, stream=Trickle()))

    with pytest.raises(ServiceUnavailableError, match=r"more than 0.01 s"):
        await service.client.get("j")


async def test_real_port_that_nobody_listens_on_is_told():
    async with Client("http://127.0.0.1:1", clock=NoTime()) as client:
        with pytest.raises(ServiceUnavailableError, match="check that 'holdfast serve' runs there"):
            await client.get("j")


# what only a service has ---------------------------------------------------------------------


async def test_wrong_key_is_told(running):
    async with Client(running.url, "hf_0000000000_nonsense") as client:
        with pytest.raises(NotAuthenticatedError, match="unknown, expired or revoked"):
            await client.list()


async def test_key_without_the_action_is_told(running):
    async with Client(running.url, await running.key(Action.READ)) as client:
        with pytest.raises(AccessDeniedError, match="does not allow 'submit'") as caught:
            await client.submit("greet", "ada")

    assert caught.value.action == "submit"


async def test_key_that_may_see_jobs_but_not_their_content_can_wait_for_them(running, harness):
    with_kinds(harness, Gate())
    await harness.start_worker()
    job_id = await harness.submit("greet", "ada")

    async with Client(running.url, await running.key(Action.READ)) as client:
        job = await client.wait(job_id)
        with pytest.raises(RequestError, match="came without its output"):
            client.output_of(job)

    assert (job.status, job.input, job.output) == (JobStatus.COMPLETED, b"", None)


async def test_list_of_many_is_gathered_from_pages(running, harness, monkeypatch):
    monkeypatch.setattr("holdfast.remote.client._LIST_PAGE", 2)
    with_kinds(harness, Gate())
    ids = [await harness.submit("greet", "ada") for _ in range(5)]

    async with Client(running.url, await running.key()) as client:
        some = await client.list(JobQuery(limit=3))
        everything = await client.list()

    assert [job.job_id for job in some] == ids[:1:-1]
    assert [job.job_id for job in everything] == ids[::-1]


async def test_list_of_several_kinds_is_refused(client):
    with pytest.raises(InvalidInputError, match="one kind or of all"):
        await client.list(JobQuery(kinds=("a", "b")))


def test_artifact_of_nobody_cannot_be_asked_for():
    artifact = Artifact(name="a", sha256="0" * 64, size_bytes=1, media_type="text/plain")

    with pytest.raises(InvalidInputError, match="not known which job"):
        Client("http://localhost").stream_artifact(artifact)


async def test_download_goes_on_where_it_broke_off_and_is_checked():
    content = b"0123456789" * 3
    sha256 = hashlib.sha256(content).hexdigest()

    class Cut(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield content[:10]
            raise httpx2.ReadError("cut")

    listed = {
        "artifacts": [
            {"name": "a b/c.txt", "size_bytes": 30, "media_type": "text/plain", "sha256": sha256}
        ]
    }
    service = Service(
        told(body=listed),
        lambda _: httpx2.Response(200, stream=Cut()),
        lambda request: httpx2.Response(206, content=content[10:]),
    )

    (artifact,) = await service.client.artifacts("j")
    got = b"".join([chunk async for chunk in service.client.stream_artifact(artifact)])

    assert got == content
    assert service.requests[2].headers["Range"] == "bytes=10-"
    assert service.requests[2].headers["If-Range"] == f'"{sha256}"'
    assert service.requests[1].url.raw_path == b"/api/v1/jobs/j/artifacts/a%20b/c.txt"


@pytest.mark.parametrize("content", [b"other", b"more than was told", b""])
async def test_content_that_is_not_what_was_saved_is_refused(content: bytes):
    listed = {
        "artifacts": [{"name": "a", "size_bytes": 5, "media_type": "text/plain", "sha256": "0" * 64}]
    }
    service = Service(told(body=listed), lambda _: httpx2.Response(200, content=content))
    (artifact,) = await service.client.artifacts("j")

    with pytest.raises(ArtifactError, match="is not what was saved"):
        _ = [chunk async for chunk in service.client.stream_artifact(artifact)]


async def test_client_serves_where_jobs_are_asked_for(running, harness):
    with_kinds(harness, Gate())

    async def submit(jobs: Jobs) -> Job:
        return await jobs.submit("greet", "ada")

    async with Client(running.url, await running.key()) as client:
        assert (await submit(client)).kind == (await submit(harness.client)).kind
