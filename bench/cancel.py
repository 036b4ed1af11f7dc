"""(l) From a cancel on one machine until the call's connection is closed on another."""

import json
import statistics
import subprocess
from pathlib import Path

from bench.harness import Bench, Row, Table
from bench.machines import LOOPBACK, Machine, machines
from bench.stage import Stage, servers, servers_note

TARGET_SECONDS = 1.0


def measure(bench: Bench) -> Table:
    """Cancel one job after another, each while its call is in flight."""
    rounds = bench.plan.pick(50, 20, 3)
    with machines(2) as made:
        client, worker = made or (LOOPBACK, LOOPBACK)
        gateways = [machine.gateway for machine in made or ()]
        with servers(bench, addresses=gateways) as both, both.stage() as stage:
            seconds = _cancel(bench, stage, client, worker, rounds)
    worst, median = max(seconds), statistics.median(seconds)
    row = Row(
        what=f"cancel to connection closed, the longest of {rounds}",
        ours=f"{worst * 1000:.0f} ms (median {median * 1000:.0f} ms)",
        target=f"≤ {TARGET_SECONDS:g} s",
        met=worst <= TARGET_SECONDS,
        short_by=f"{worst - TARGET_SECONDS:.1f} s too long",
    )
    return Table(rows=[row], note=_NOTE.replace("WHERE", _APART if made else _HERE) + servers_note())


def _cancel(bench: Bench, stage: Stage, client: Machine, worker: Machine, rounds: int) -> list[float]:
    """Return how long each took."""
    journal = stage.folder / "journal.jsonl"
    journal.touch()
    provider = bench.start(
        "slow_provider", stage.folder / "provider.log", worker.within, journal=str(journal)
    )
    try:
        zero, url = _told(provider)
        stage.worker(
            10,
            machine=worker,
            HOLDFAST_PROVIDER="openai",
            HOLDFAST_OPENAI_BASE_URL=url,
            HOLDFAST_OPENAI_API_KEY="none",
            HOLDFAST_CALL_TIMEOUT_SECONDS="600",
        )
        asked: list[float] = stage.ask(
            "cancel", machine=client, journal=str(journal), rounds=rounds, pause=1.0
        )
        return [zero + closed - at for at, closed in zip(asked, _closed(journal), strict=True)]
    finally:
        bench.stop(provider)


def _told(provider: "subprocess.Popen[bytes]") -> tuple[float, str]:
    assert provider.stdout is not None
    zero, url = provider.stdout.readline().decode().split()
    return float(zero), url


def _closed(journal: Path) -> list[float]:
    """Return when the client of each call was gone, in order of the calls, by the provider's clock."""
    records = map(json.loads, journal.read_text().splitlines())
    ended = [each for each in records if each["event"] == "ended"]
    assert all(each["disconnected"] for each in ended), "a call has ended in another way"
    return [each["ended"] for each in sorted(ended, key=lambda each: each["number"])]


_APART = """
Three machines as far as the network goes: network namespaces with a virtual cable to the servers' one.
The client is in one, the worker and the provider are in the other, and those two do not reach each
other.
"""
_HERE = """
All on the loopback interface: this user may not make network namespaces.
"""
_NOTE = """
WHERE
A job's model call is in flight at the provider simulator, which does not answer; the client cancels the
job, at a different moment each time.
The time ends when the provider's end of the connection is closed, by its journal.
"""
