"""Probes: cheap, bounded, and honest about what is wrong."""

import asyncio
from types import SimpleNamespace

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import StoreUnavailableError
from holdfast.server import checks, health
from holdfast.server.checks import Check, Checks, Finding
from holdfast.testing.clock import ManualClock


async def ask(running, path: str):
    async with running.http() as http:
        answer = await http.get(path)
    return answer.status_code, answer.json()


def use(monkeypatch, running, **fields) -> None:
    """Give the running service another part, frozen as it is."""
    for name, value in fields.items():
        object.__setattr__(running.service, name, value)


# alive ---------------------------------------------------------------------------------------


async def test_process_is_alive_until_there_is_trouble(running, monkeypatch):
    troubles: list[str] = []
    use(monkeypatch, running, troubles=lambda: troubles)

    assert await ask(running, "/health/live") == (200, {"status": "alive", "troubles": []})

    troubles.append("the event loop has been blocked for 40 s")

    assert await ask(running, "/health/live") == (503, {"status": "stuck", "troubles": troubles})


async def test_probe_is_alive_whatever_is_away(running, harness, monkeypatch):
    use(monkeypatch, running, reach_broker=refuse)
    await harness.real_store.close()

    status, _ = await ask(running, "/health/live")

    assert status == 200


# ready ---------------------------------------------------------------------------------------


async def test_service_is_ready_when_all_answer(running):
    status, body = await ask(running, "/health/ready")

    assert (status, body["status"]) == (200, "ready")
    assert body["checks"] == {
        "store": {"status": "ok", "told": ""},
        "artifacts": {"status": "ok", "told": ""},
        "workers": {"status": "ok", "told": ""},
    }


async def test_store_that_is_away_is_named(running, monkeypatch):
    async def away(_):
        raise StoreUnavailableError("postgresql://db.internal cannot be reached")

    monkeypatch.setattr(running.service.records, "find_positions", away, raising=False)

    status, body = await ask(running, "/health/ready")

    assert (status, body["status"]) == (503, "failing")
    assert body["checks"]["store"] == {"status": "failing", "told": "store_unavailable"}
    assert body["checks"]["artifacts"]["status"] == "ok"
    assert "db.internal" not in str(body)


async def test_artifacts_that_are_away_are_named(running, harness, monkeypatch):
    async def away():
        raise OSError("/secret/place: no such device")

    monkeypatch.setattr(harness.artifacts, "check", away)

    status, body = await ask(running, "/health/ready")

    assert (status, body["checks"]["artifacts"]) == (503, {"status": "failing", "told": "OSError"})


def refuse() -> None:
    raise ConnectionRefusedError("amqp://user:password@broker.internal")


async def test_broker_that_is_away_is_named_unless_it_is_left_out(running, monkeypatch):
    use(monkeypatch, running, reach_broker=refuse)

    status, body = await ask(running, "/health/ready")

    assert (status, body["checks"]["broker"]["status"]) == (503, "failing")
    assert "password" not in str(body)
    assert (await ask(running, "/health/ready?exclude=broker"))[0] == 200


async def test_check_that_hangs_is_out_of_time_and_not_started_again(running, monkeypatch):
    begun, never = [], asyncio.Event()

    async def hang():
        begun.append(1)
        await never.wait()

    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(checks, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(running.service.client.artifact_store, "check", hang)

    for _ in range(3):
        status, body = await ask(running, "/health/ready")
        assert status == 503
        assert body["checks"]["artifacts"]["told"] == "no answer within 0.01 s"

    assert begun == [1]


async def test_silent_workers_are_a_warning(running, harness):
    """The service does what it promises without a worker; but somebody should look."""
    await harness.submit("greet", "ada")

    status, body = await ask(running, "/health/ready")

    assert status == 200
    assert body["checks"]["workers"] == {
        "status": "warning",
        "told": "jobs wait in 1 queue(s) that no worker alive serves",
    }


async def test_service_that_stops_is_not_ready_at_once(running):
    assert (await ask(running, "/health/ready"))[0] == 200

    running.service.closing.set()

    assert await ask(running, "/health/ready") == (503, {"status": "stopping", "checks": {}})
    assert (await ask(running, "/health/live"))[0] == 200


# how seldom it is looked -------------------------------------------------------------------------


class Counted:
    """A check that counts how often it is made."""

    def __init__(self, verdict="ok") -> None:
        self.finding = Finding(verdict)
        self.made = 0

    async def look(self) -> Finding:
        self.made += 1
        return self.finding


async def test_probes_at_once_and_within_a_second_cost_one_look():
    clock, counted, all_checks = ManualClock(), Counted(), Checks()

    await asyncio.gather(*(all_checks.run({"a": Check(counted.look)}, clock) for _ in range(50)))
    clock.advance(0.9)
    await all_checks.run({"a": Check(counted.look)}, clock)
    assert counted.made == 1

    clock.advance(0.2)
    await all_checks.run({"a": Check(counted.look)}, clock)
    assert counted.made == 2


@pytest.mark.parametrize(("verdict", "looks"), [("ok", 1), ("failing", 2)])
async def test_bad_finding_is_looked_at_again_soon(verdict, looks):
    clock, counted, all_checks = ManualClock(), Counted(verdict), Checks()
    check = {"a": Check(counted.look, 30.0)}

    await all_checks.run(check, clock)
    clock.advance(2)
    await all_checks.run(check, clock)

    assert counted.made == looks


async def test_checks_run_at_the_same_time():
    """Each waits for the other: one after another they would never end."""
    first, second = asyncio.Event(), asyncio.Event()

    async def wait(mine, other):
        mine.set()
        await other.wait()
        return Finding()

    found = await Checks().run(
        {"a": Check(lambda: wait(first, second)), "b": Check(lambda: wait(second, first))},
        SystemClock(),
    )

    assert {one.verdict for one in found.values()} == {"ok"}


def test_broker_is_looked_at_only_where_there_is_one():
    without = SimpleNamespace(reach_broker=None)

    assert "broker" not in health.checks_of(without)  # type: ignore[arg-type]
