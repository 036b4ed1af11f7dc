"""`holdfast sealing`, and what `doctor` says of sealing."""

import json

import pytest

from holdfast.sealing import load_keyring, new_key
from tests.cli.conftest import Command


def sealing(sample: Command) -> dict[str, str]:
    checks = json.loads(sample("doctor", "--offline", "--json").out)["checks"]
    by_name: dict[str, dict[str, str]] = {each["name"]: each for each in checks}
    return by_name["sealing"]


def test_new_key_can_be_used_as_it_is_printed(sample: Command, monkeypatch: pytest.MonkeyPatch):
    first, second = sample("sealing", "new-key"), sample("sealing", "new-key", "--id", "2026")

    assert (first.status, second.status, first.err + second.err) == (0, 0, "")
    assert len(load_keyring(f"{first.out},{second.out}").key_ids) == 2
    assert second.out.startswith("2026:")
    monkeypatch.setenv("HOLDFAST_SEALING_KEYS", first.out)
    assert sample("jobs", "submit", "sums", '{"secret":"Zaphod"}').status == 0


def test_new_key_refuses_an_id_that_the_setting_could_not_hold(sample: Command):
    ended = sample("sealing", "new-key", "--id", "a,b")

    assert ended.status == 78
    assert "a,b" in ended.err


def test_doctor_tells_the_keys_and_never_shows_them(sample: Command, monkeypatch: pytest.MonkeyPatch):
    assert "in the clear" in sealing(sample)["told"]
    old, new = new_key("old"), new_key("new")
    monkeypatch.setenv("HOLDFAST_SEALING_KEYS", f"{new},{old}")

    ended = sample("doctor", "--offline")

    assert "with key new; old can be opened, too" in ended.out
    assert old.partition(":")[2] not in ended.out


def test_doctor_finds_jobs_whose_key_is_missing(sample: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_SEALING_KEYS", new_key("old"))
    sample("jobs", "submit", "sums", "{}")

    monkeypatch.setenv("HOLDFAST_SEALING_KEYS", new_key("new"))
    found = sealing(sample)
    monkeypatch.delenv("HOLDFAST_SEALING_KEYS")
    refused = sample("jobs", "list")

    assert found["verdict"] == "problem"
    assert "1 of the newest 1 jobs" in found["told"]
    assert "'old'" in found["told"]
    assert refused.status == 69
    assert "HOLDFAST_SEALING_KEYS" in refused.err


def test_doctor_finds_a_setting_of_the_wrong_form(sample: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_SEALING_KEYS", "hidden")

    found = sealing(sample)

    assert found["verdict"] == "problem"
    assert "hidden" not in json.dumps(found)
