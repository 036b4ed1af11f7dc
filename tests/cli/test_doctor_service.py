"""What `holdfast doctor` says of the service, as it is set up here and as it runs elsewhere."""

import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import JobContext
from holdfast.cli import check_service
from holdfast.cli.check_broker import broker
from holdfast.cli.check_service import service
from holdfast.cli.finding import Finding
from holdfast.clock import SystemClock
from holdfast.server.access import Action, make_key
from holdfast.settings import Settings
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.harness import Harness
from holdfast.testing.servers.redis import Redis
from holdfast.testing.service import running_service

HIDDEN = "hf_0000000000_hidden"


async def findings(home: Path, **settings: object) -> dict[str, Finding]:
    """Return the findings by name; of the port that any process gets, unless the test says which."""
    found = await service(Settings(**{"home": home, "port": 0, **settings}))  # type: ignore[arg-type]
    assert HIDDEN not in str(found)
    return {one.name: one for one in found}


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something else listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


async def test_fresh_installation_has_nothing_to_complain_of(tmp_path):
    found = await findings(tmp_path)

    names = ["server", "secret", "access", "web pages", "public URL", "port", "open files", "traces"]
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(names, "ok")


@pytest.mark.parametrize(
    ("settings", "name", "verdict", "told"),
    [
        ({"secret": "short"}, "secret", "problem", "shorter than 32"),
        ({"host": "0.0.0.0"}, "access", "warning", "nobody gets in"),
        ({"auth": "required"}, "access", "warning", "nobody gets in"),
        ({"host": "0.0.0.0", "cors_origins": "*"}, "web pages", "problem", "every web page"),
        ({"cors_origins": "shop.example"}, "web pages", "problem", "is no origin"),
        ({"cors_origins": "https://shop.example/buy"}, "web pages", "problem", "is no origin"),
        ({"cors_origins": "https://shop.example"}, "web pages", "ok", "https://shop.example"),
        ({"host": "0.0.0.0"}, "public URL", "warning", "links lead to 0.0.0.0"),
        ({"public_url": "jobs.example"}, "public URL", "problem", "no web address"),
        ({"public_url": "http://jobs.example"}, "public URL", "warning", "not encrypted"),
        ({"public_url": "https://jobs.example"}, "public URL", "ok", "https://jobs.example"),
        ({"host": "203.0.113.1"}, "port", "warning", "cannot be listened on"),
        ({"otlp_endpoint": "http://127.0.0.1:9"}, "traces", "warning", "cannot be reached"),
        ({"otlp_endpoint": "http://a", "otlp_protocol": "grpc"}, "traces", "problem", "by 'grpc'"),
        ({"otlp_endpoint": "http://a:port"}, "traces", "problem", "cannot be read"),
        ({"url": "ftp://a"}, "remote", "problem", "no web address"),
        ({"url": "http://127.0.0.1:9", "api_key": HIDDEN}, "remote", "problem", "cannot be reached"),
    ],
)
async def test_setting_is_judged(tmp_path, monkeypatch, settings, name, verdict, told):
    # An address that does not answer must not hold up the test.
    monkeypatch.setattr(check_service, "_TIMEOUT_SECONDS", 0.2)

    found = (await findings(tmp_path, **settings))[name]

    assert (found.verdict, told in found.told) == (verdict, True), found
    assert bool(found.to_do) is (verdict != "ok")


async def test_keys_let_somebody_in(tmp_path):
    store = SqliteStore(tmp_path / "holdfast.db")
    await store.open()
    _, kept = make_key(name="shop", actions=[Action.READ], at=SystemClock().now())
    await store.service.insert_key(kept)
    await store.close()

    found = await findings(tmp_path, host="0.0.0.0")

    assert found["access"].told == "with one of 1 keys, by 0.0.0.0"


async def test_secret_of_one_machine_is_no_secret_of_a_fleet(tmp_path):
    (tmp_path / "secret").write_text("0" * 40)

    alone = await findings(tmp_path)
    fleet = await findings(tmp_path, store=f"sqlite:///{tmp_path}/jobs.db")

    assert (alone["secret"].verdict, fleet["secret"].verdict) == ("ok", "warning")


async def test_port_that_others_have_is_told(tmp_path, taken, monkeypatch):
    monkeypatch.setattr(check_service, "_TIMEOUT_SECONDS", 0.05)

    found = (await findings(tmp_path, port=taken))["port"]

    assert (found.verdict, "Address already in use" in found.told) == ("warning", True)


async def test_few_open_files_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))

    assert (await findings(tmp_path))["open files"].verdict == "warning"


async def test_missing_server_is_told(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "holdfast.wiring.serving", raising=False)
    monkeypatch.setitem(sys.modules, "holdfast.server.app", None)

    found = await findings(tmp_path)

    assert (found["server"].verdict, "holdfast[server]" in found["server"].to_do) == ("warning", True)
    assert "secret" not in found


async def test_missing_tracing_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    found = (await findings(tmp_path, otlp_endpoint="http://a"))["traces"]

    assert (found.verdict, found.to_do) == ("problem", "install 'holdfast[tracing]'")


# a service that runs -----------------------------------------------------------------------------


async def greet(job: JobContext, name: str) -> str:
    return name


async def test_service_that_runs_is_recognised(tmp_path):
    """By its port here, and by its URL from elsewhere, with a key that is good and one that is not."""
    async with Harness(tmp_path) as harness:
        harness.job("greet", greet)
        async with running_service(harness) as running:
            key, port = await running.key(Action.READ), int(running.url.rpartition(":")[2])
            here = await findings(tmp_path, port=port)
            good = await findings(tmp_path, url=running.url, api_key=key)
            bad = await findings(tmp_path, url=running.url, api_key=HIDDEN)
            none = await findings(tmp_path, url=running.url)
            await harness.submit("greet", "ada")
            running.service.checks._found.clear()
            running.service.fleet._good_until = 0.0
            silent = await findings(tmp_path, url=running.url, api_key=key)

    assert "is served already" in here["port"].told
    assert (good["remote"].verdict, good["remote key"].verdict) == ("ok", "ok"), good
    assert bad["remote key"].verdict == none["remote key"].verdict == "problem"
    assert silent["remote"].verdict == "warning"
    assert "no worker alive serves" in silent["remote"].told


# the broker ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:hidden@127.0.0.1:9/0", "cannot be reached"),
        ("kafka://a", "neither Redis nor RabbitMQ"),
    ],
)
async def test_broker_that_is_of_no_use_is_told(url, told):
    found = await broker(Settings(broker=url))

    assert (found.verdict, told in found.told) == ("problem", True)
    assert "hidden" not in str(found)


async def test_no_broker_is_no_trouble():
    assert (await broker(Settings())).verdict == "ok"


@pytest.mark.requires("redis-server")
async def test_broker_that_answers_is_well(redis_server: Redis):
    assert (await broker(Settings(broker=redis_server.url))).verdict == "ok"
