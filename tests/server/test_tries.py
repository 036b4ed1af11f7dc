"""Tries are limited by name and time."""

from datetime import UTC, datetime, timedelta

from holdfast.server import tries as module
from holdfast.server.tries import Tries

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_name_waits_after_its_last_try_until_the_first_is_old():
    tries = Tries(limit=3, seconds=60)
    for second in range(3):
        assert not tries.wait("a", START)
        tries.add("a", START + timedelta(seconds=second))

    assert tries.wait("a", START + timedelta(seconds=20)) == timedelta(seconds=40)
    assert not tries.wait("b", START)
    assert not tries.wait("a", START + timedelta(seconds=60))


def test_names_are_forgotten_before_they_become_too_many(monkeypatch):
    monkeypatch.setattr(module, "NAMES_MAX", 2)
    tries = Tries(limit=1, seconds=60)

    for name in "abc":
        tries.add(name, START)

    assert [bool(tries.wait(name, START)) for name in "abc"] == [False, True, True]
