"""The same commands by a service: same output, same statuses, clear words where it is not there."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from holdfast.server.run import serve_api
from tests.cli import sample_app
from tests.cli.conftest import Command, Ended
from tests.cli.test_jobs import submitted, worked_off

pytestmark = pytest.mark.timeout(60)  # many commands, each with a loop and a store of its own

NOWHERE = "http://127.0.0.1:1"


@dataclass
class Serving:
    """The service of the sample application, on the store of the folder that the test is in."""

    url: str


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Serve from a thread: the commands under test run an event loop of their own."""
    ready: Future[int] = Future()
    stopping: list[Callable[[], object]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stopping.append(lambda: loop.call_soon_threadsafe(stop.set))
        api = sample_app.app.api(with_worker=False, open_access=True)
        await serve_api(api, host="127.0.0.1", port=0, stop=stop, on_ready=ready.set_result)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            ready.set_exception(error)
            raise

    # Settings are read once, here: commands that name the service must not change them.
    assert not sample_app.app.settings.url
    thread = threading.Thread(target=run)
    thread.start()
    yield Serving(f"http://127.0.0.1:{ready.result()}")
    stopping[0]()
    thread.join()


@pytest.fixture
def by_service(holdfast: Command, serving: Serving) -> Command:
    return lambda *arguments: holdfast("--url", serving.url, *arguments)


def same(local: Ended, remote: Ended) -> None:
    assert (remote.status, comparable(remote.out), remote.err) == (
        local.status,
        comparable(local.out),
        local.err,
    )


def comparable(out: str) -> object:
    """Return JSON as its values, and text for people without how long ago things were."""
    try:
        return [json.loads(line) for line in out.splitlines()]
    except json.JSONDecodeError:
        return ageless(out)


def ageless(text: str) -> str:
    """Leave out how long ago things were, which goes on between two commands."""
    without = re.sub(r"\b(now|\d+ (s|min)) *$", "AGE", text, flags=re.MULTILINE)
    return re.sub(r" +", " ", without)


@pytest.mark.parametrize("columns", [80, 120])
def test_looking_is_the_same_both_ways(
    sample: Command, by_service: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, columns: int
):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = submitted(sample, "sums", '{"items": 3}', "--idempotency-key", "k", "--tenant", "t")
    failed = submitted(sample, "sums", '{"fail_at": 1}', "--subject", "s")
    parent = submitted(sample, "family", "2")
    waiting = submitted(sample, "waits")
    worked_off(done, failed, parent)

    commands = [
        ["list"],
        ["list", "--json"],
        ["list", "--kind", "sums", "--status", "failed"],
        ["list", "--parent", parent],
        ["list", "--limit", "2"],
        ["list", "--kind", "nothing", "--json"],
        ["show", done, "--steps", "--calls"],
        ["show", done, "--json"],
        ["show", done[-8:].lower()],
        ["show", failed],
        ["show", failed, "--json"],
        ["show", parent],
        ["show", parent, "--json"],
        ["show", waiting],
        ["show", "job_00000000000000000000000000"],
        ["show", "0000000"],
        ["show", "../keys"],
        ["watch", done],
        ["watch", done, "--json", "--after", "2"],
        ["watch", failed],
        ["output", done],
        ["output", failed],
        ["output", waiting],
        ["artifact", done, "sums.txt", "--out", "-"],
        ["artifact", done, "sums.txt"],
        ["artifact", done, "other.txt"],
    ]

    for command in commands:
        same(sample("jobs", *command), by_service("jobs", *command))


def test_jobs_are_steered_the_same_both_ways(sample: Command, by_service: Command):
    """Each command is given locally for one job and by the service for its twin."""

    def both(*command: str) -> None:
        local, remote = (run("jobs", *(word.format(job) for word in command)) for run, job in twins)
        assert (remote.status, strip(remote.out), strip(remote.err)) == (
            local.status,
            strip(local.out),
            strip(local.err),
        )

    def strip(text: str) -> str:
        return re.sub(r"job_\w{26}", "JOB", text)

    twins = [(run, submitted(run, "sums", '{"items": 2}')) for run in (sample, by_service)]
    both("budget", "{}", "--usd", "2.50")
    both("budget", "{}", "--tokens", "5000")
    both("signal", "{}", "go", '{{"a": 1}}')
    both("retry", "{}")
    both("cancel", "{}")
    both("cancel", "{}")
    both("signal", "{}", "go")
    both("retry", "{}")
    both("fork", "{}", "--input", '{{"items": 1}}')
    both("fork", "{}", "--keep", "nope")
    both("fork", "{}", "--input", '{{"items": "many"}}')
    budgets = [json.loads(run("jobs", "show", job, "--json").out)["budget"] for run, job in twins]

    assert budgets == [{"usd": "2.5", "tokens": 5000}] * 2


def test_submission_is_the_same_both_ways(sample: Command, by_service: Command):
    key = ("--idempotency-key", "k")
    for command in (
        ["sums", '{"items": 1}', *key, "--priority", "2", "--tenant", "t", "--subject", "s"],
        ["sums", '{"items": 2}', *key, "--tenant", "t"],
        ["summs"],
        ["sums", '{"items": "many"}'],
        ["sums", "{items}"],
    ):
        same(sample("jobs", "submit", *command), by_service("jobs", "submit", *command))


def test_environment_names_the_service_and_a_typed_store_wins_over_it(
    holdfast: Command, sample: Command, monkeypatch: pytest.MonkeyPatch
):
    submitted(sample, "sums", "{}")
    monkeypatch.setenv("HOLDFAST_URL", NOWHERE)

    by_environment = holdfast("jobs", "list")
    typed = holdfast("--store", "sqlite:///.holdfast/holdfast.db", "jobs", "list", "--json")
    home = holdfast("--home", ".holdfast", "jobs", "list", "--json")

    assert by_environment.status == 69
    assert (
        (typed.status, len(json.loads(typed.out))) == (home.status, len(json.loads(home.out))) == (0, 1)
    )


def test_place_is_told_where_nothing_was_found(by_service: Command, serving: Serving):
    ended = by_service("jobs", "list")

    assert ended.err == f"No such jobs in {serving.url}.\n"


def test_url_and_store_exclude_each_other(holdfast: Command):
    ended = holdfast("--url", NOWHERE, "--store", "sqlite:///x.db", "jobs", "list")

    assert (ended.status, "'--url' / '--store'" in ended.err) == (2, True)


@pytest.mark.parametrize(
    "command",
    [
        ["keys", "list"],
        ["keys", "new", "x"],
        ["keys", "revoke", "x"],
        ["doctor", "--offline"],
        ["prune", "--older-than", "1d"],
        ["subject", "export", "s", "--out", "s.zip"],
        ["subject", "erase", "s", "--yes"],
        ["migrate"],
        ["worker"],
        ["serve"],
        ["report", "life_clarity", "--name", "A", "--born", "1990-05-20", "--place", "Lisbon"],
    ],
)
def test_what_needs_the_store_says_so(holdfast: Command, command: list[str], tmp_path: Path):
    ended = holdfast("--url", NOWHERE, *command)

    assert ended.status == 78, ended.err
    assert "works on the store itself" in ended.err
    assert not (tmp_path / ".holdfast").exists()


# trouble -------------------------------------------------------------------------------------


def paragraph(ended: Ended) -> str:
    """Return the words of an error, which are one paragraph."""
    assert ended.out == ""
    assert "Traceback" not in ended.err
    return " ".join(ended.err.split())


def test_service_that_is_not_there_is_told(holdfast: Command):
    ended = holdfast("--url", NOWHERE, "jobs", "list")

    assert ended.status == 69
    assert "the service at http://127.0.0.1:1 cannot be reached" in paragraph(ended)
    assert "check that 'holdfast serve' runs there" in paragraph(ended)


def test_wrong_key_is_told_and_not_shown(by_service: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_API_KEY", "hf_0000000000_secret")

    ended = by_service("jobs", "list")

    assert ended.status == 78
    assert "the key is unknown, expired or revoked" in paragraph(ended)
    assert "secret" not in ended.err


def test_key_that_does_not_allow_it_is_told(
    sample: Command, by_service: Command, monkeypatch: pytest.MonkeyPatch
):
    key = sample("keys", "new", "looker", "--allow", "read").out.strip()
    monkeypatch.setenv("HOLDFAST_API_KEY", key)

    listed = by_service("jobs", "list", "--json")
    refused = by_service("jobs", "submit", "sums", "{}")

    assert (listed.status, listed.out) == (0, "[]\n")
    assert refused.status == 78
    assert "does not allow 'submit'" in paragraph(refused)


@pytest.mark.parametrize("url", ["jobs.example", "file:///etc", "https://a:b@jobs.example"])
def test_url_that_is_none_is_told(holdfast: Command, url: str):
    ended = holdfast("--url", url, "jobs", "list")

    assert ended.status == 78
    assert "URL" in paragraph(ended)


class Other(BaseHTTPRequestHandler):
    """Some other server."""

    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(308)
            self.send_header("Location", "https://jobs.example/")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<h1>It works!</h1>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_server_is_told(holdfast: Command, other: str):
    ended = holdfast("--url", other, "jobs", "list")

    assert ended.status == 78
    assert "does not answer as Holdfast does, but with 'text/html' instead of JSON" in paragraph(ended)


def test_server_that_sends_on_is_told(holdfast: Command, other: str):
    ended = holdfast("--url", f"{other}/moved", "jobs", "list")

    assert ended.status == 78
    assert "sends on to https://jobs.example/ use the URL of that place" in paragraph(ended)


def test_https_to_a_server_without_tls_is_told(holdfast: Command, other: str):
    ended = holdfast("--url", other.replace("http:", "https:"), "jobs", "list")

    assert ended.status == 78
    assert "if it is served without TLS, the URL begins with http://" in paragraph(ended)


def test_http_to_a_server_with_tls_is_told(holdfast: Command):
    """As such servers do, this one hangs up on what is no handshake."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            for _ in range(4):
                connection, _ = server.accept()
                connection.recv(65536)
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        ended = holdfast("--url", f"http://127.0.0.1:{server.getsockname()[1]}", "jobs", "list")
        thread.join()

    assert ended.status == 69
    assert "if it is served by TLS, the URL begins with https://" in paragraph(ended)
