import os
from pathlib import Path

import pytest

from holdfast import settings as settings_module
from holdfast.errors import ConfigError
from holdfast.settings import load_settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("HOLDFAST_", "OPENAI_")):
            monkeypatch.delenv(name)


def test_defaults_need_no_server_and_no_key():
    found = load_settings()

    assert found.store_url == "sqlite:///.holdfast/holdfast.db"
    assert found.artifacts_url == ".holdfast/artifacts"
    assert not found.uses_openai


def test_variables_win_over_defaults(monkeypatch):
    monkeypatch.setenv("HOLDFAST_HOME", "/srv/h")
    monkeypatch.setenv("HOLDFAST_CONCURRENCY", "7")
    monkeypatch.setenv("HOLDFAST_UNKNOWN", "x")

    found = load_settings()

    assert (found.home, found.concurrency) == (Path("/srv/h"), 7)
    assert found.store_url == "sqlite:////srv/h/holdfast.db"


def test_store_and_artifacts_can_lie_elsewhere(monkeypatch):
    monkeypatch.setenv("HOLDFAST_STORE", "sqlite:///jobs.db")
    monkeypatch.setenv("HOLDFAST_ARTIFACTS", "/srv/files")

    assert load_settings().store_url == "sqlite:///jobs.db"
    assert load_settings().artifacts_url == "/srv/files"


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "HOLDFAST_OPENAI_API_KEY"])
def test_key_is_taken_under_either_name_and_never_shown(monkeypatch, name):
    monkeypatch.setenv(name, "sk-secret")

    found = load_settings()

    assert found.openai_api_key is not None
    assert found.openai_api_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(found)
    assert found.uses_openai


@pytest.mark.parametrize(
    "name",
    [
        "HOLDFAST_STORE",
        "HOLDFAST_BROKER",
        "HOLDFAST_ARTIFACTS",
        "HOLDFAST_S3_ENDPOINT",
        "HOLDFAST_S3_PUBLIC_ENDPOINT",
        "HOLDFAST_OPENAI_BASE_URL",
    ],
)
def test_password_in_a_url_is_never_shown(monkeypatch, name):
    monkeypatch.setenv(name, "https://ann:hunter2@example.org/x")

    found = load_settings()

    assert "hunter2" not in f"{found!r} {found}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:hunter2@db.example.org:5433/jobs", "postgresql://db.example.org:5433/jobs"),
        ("postgresql://db/jobs?user=ann&password=hunter2", "postgresql://db/jobs"),
        ("postgresql://db?password=hunter2", "postgresql://db"),
        ("postgresql://ann:hunter2#@db/jobs", "postgresql://db/jobs"),
        ("postgresql://ann:hunter2@a:1,b:2/jobs", "postgresql://a:1,b:2/jobs"),
        ("postgresql://ann:hunter2@[::1]:5433/jobs", "postgresql://[::1]:5433/jobs"),
        ("postgresql:///jobs?host=/run/pg&password=hunter2", "postgresql:///jobs"),
        ("sqlite:////srv/a@b?c#d.db", "sqlite:////srv/a@b?c#d.db"),
    ],
)
def test_store_is_shown_without_user_password_and_query(monkeypatch, url, shown):
    monkeypatch.setenv("HOLDFAST_STORE", url)

    assert load_settings().store_shown == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hunter2/@db/jobs",
        "postgresql://ann:hunter2?@db/jobs",
        "postgresql://ann:x@hunter2@db/jobs",
        "postgresql://db/jobs?password=x@hunter2",
        "host=db password=hunter2",
    ],
)
def test_store_url_that_may_be_read_in_two_ways_is_not_shown(monkeypatch, url):
    monkeypatch.setenv("HOLDFAST_STORE", url)

    assert load_settings().store_shown == "a store whose URL cannot be shown"


@pytest.mark.parametrize(
    ("provider", "base_url", "expected"),
    [("auto", "http://x", True), ("openai", None, True), ("scripted", "http://x", False)],
)
def test_provider_is_picked_by_what_is_set(monkeypatch, provider, base_url, expected):
    monkeypatch.setenv("HOLDFAST_PROVIDER", provider)
    if base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)

    assert load_settings().uses_openai is expected


def test_every_variable_that_cannot_be_used_is_named(monkeypatch):
    monkeypatch.setenv("HOLDFAST_CONCURRENCY", "0")
    monkeypatch.setenv("HOLDFAST_LOG_LEVEL", "loud")

    with pytest.raises(ConfigError, match=r"concurrency: .*log_level: .*HOLDFAST_"):
        load_settings()


def test_settings_do_not_change_once_read():
    with pytest.raises(Exception, match="frozen"):
        setattr(load_settings(), "concurrency", 5)  # noqa: B010 - the type checker refuses it too


def test_overrides_win_within_their_block_only(monkeypatch):
    monkeypatch.setenv("HOLDFAST_CONCURRENCY", "7")

    with settings_module.overridden(concurrency=9, store=None):
        with settings_module.overridden(model="m"):
            assert (load_settings().concurrency, load_settings().model) == (9, "m")
        assert load_settings().model != "m"

    assert load_settings().concurrency == 7


@pytest.mark.parametrize(
    ("host", "auth", "open_access"),
    [
        ("127.0.0.1", "auto", True),
        ("localhost", "auto", True),
        ("::1", "auto", True),
        ("127.0.0.1", "required", False),
        ("0.0.0.0", "auto", False),
        ("::", "auto", False),
        ("holdfast.example", "auto", False),
    ],
)
def test_access_is_open_on_loopback_only(monkeypatch, host, auth, open_access):
    monkeypatch.setenv("HOLDFAST_HOST", host)
    monkeypatch.setenv("HOLDFAST_AUTH", auth)

    assert load_settings().open_access is open_access


def test_every_web_page_may_call_on_loopback_only(monkeypatch):
    monkeypatch.setenv("HOLDFAST_CORS_ORIGINS", "*, https://shop.example/")
    assert load_settings().cors_origin_list == ("*", "https://shop.example")

    monkeypatch.setenv("HOLDFAST_HOST", "0.0.0.0")
    with pytest.raises(ConfigError, match="name the origins"):
        _ = load_settings().cors_origin_list


@pytest.mark.parametrize(
    ("url", "open_access"),
    [("https://holdfast.example", False), ("http://localhost:8000", True), ("nonsense", False)],
)
def test_access_is_not_open_behind_a_proxy_that_the_public_url_tells_of(monkeypatch, url, open_access):
    monkeypatch.setenv("HOLDFAST_PUBLIC_URL", url)

    assert load_settings().open_access is open_access
