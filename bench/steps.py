"""(a) Durable steps: how many a second, and how fast finished ones are skipped."""

import statistics
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.harness import (
    NOT_MEASURED,
    Bench,
    Plan,
    Row,
    Table,
    alternate,
    installed,
    pairwise,
)

SECONDS_MAX = 240.0
RAW_SHARE = 0.5
REPLAY_TARGET = 20.0


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One shape of work, with the sizes for us and for the slower peer."""

    name: str
    unit: str
    jobs: int
    steps: int
    peer_jobs: int
    peer_steps: int
    target: float
    """Times the peer's rate."""


def workloads(plan: Plan) -> list[Workload]:
    """Return the three shapes; the peer's rate does not grow with the size, so it gets less to do."""
    at_once, many = plan.pick(200, 200, 5), plan.pick(2_000, 1_000, 10)
    return [
        Workload(
            name="one job, its steps one after another",
            unit="steps/s",
            jobs=1,
            steps=plan.pick(1_000, 400, 10),
            peer_jobs=1,
            peer_steps=plan.pick(300, 100, 3),
            target=10,
        ),
        Workload(
            name=f"{at_once} jobs at once",
            unit="steps/s",
            jobs=at_once,
            steps=plan.pick(50, 20, 2),
            peer_jobs=at_once,
            peer_steps=plan.pick(10, 3, 1),
            target=60,
        ),
        Workload(
            name=f"{many:,} one-step jobs at once",
            unit="jobs/s",
            jobs=many,
            steps=1,
            peer_jobs=plan.pick(500, 200, 5),
            peer_steps=1,
            target=25,
        ),
    ]


def measure(bench: Bench) -> Table:
    """Measure all three shapes against DBOS and the raw limit, then replay against DBOS."""
    rounds = bench.plan.pick(3, 1, 1)
    table = Table(note=_NOTE)
    for workload in workloads(bench.plan)[: bench.plan.pick(3, 3, 1)]:
        table.rows += _throughput(bench, workload, rounds)
    table.rows.append(_replay(bench, rounds))
    return table


def _throughput(bench: Bench, work: Workload, rounds: int) -> list[Row]:
    sizes = {"jobs": work.jobs, "steps": work.steps}
    peer = partial(
        rate, bench, "dbos_steps", work="throughput", jobs=work.peer_jobs, steps=work.peer_steps
    )
    ours, raw, dbos, wal = alternate(
        rounds,
        partial(rate, bench, "holdfast_steps", work="throughput", **sizes),
        partial(rate, bench, "raw_steps", **sizes),
        peer if installed("dbos") else nothing,
        partial(peer, wal=True) if installed("dbos") and not bench.plan.tiny else nothing,
    )
    return [
        against(work.name, ours, dbos, work.unit, work.target),
        against("… DBOS with its file in WAL mode", ours, wal, work.unit, None),
        limit("sqlite3", ours, raw, work.unit),
    ]


def _replay(bench: Bench, rounds: int) -> Row:
    steps = bench.plan.pick(1_000, 300, 10)
    ours, dbos = alternate(
        rounds,
        partial(rate, bench, "holdfast_steps", work="replay", steps=steps),
        partial(rate, bench, "dbos_steps", work="replay", steps=steps) if installed("dbos") else nothing,
    )
    return against(f"replay of {steps:,} finished steps", ours, dbos, "steps/s", REPLAY_TARGET)


def against(what: str, ours: list[float], dbos: list[float], unit: str, target: float | None) -> Row:
    """Return a row with DBOS beside us."""
    if not all(dbos):
        return Row(what=what, ours=told(ours, unit), peer=f"DBOS is {NOT_MEASURED}")
    ratio, peer = pairwise(ours, dbos), f"DBOS {told(dbos, unit)}"
    if target is None:
        return Row(what=what, ours=told(ours, unit), peer=peer, ratio=f"{ratio:,.1f}×")
    return Row(
        what=what,
        ours=told(ours, unit),
        peer=peer,
        ratio=f"{ratio:,.1f}×",
        target=f"≥ {target:g}×",
        met=ratio >= target,
        short_by=f"{ratio:,.1f} times instead of {target:g}",
    )


def limit(library: str, ours: list[float], raw: list[float], unit: str) -> Row:
    """Return a row with the least that is as durable beside us."""
    share = pairwise(ours, raw)
    return Row(
        what="… the physical limit",
        ours=told(ours, unit),
        peer=f"raw {library} {told(raw, unit)}",
        ratio=f"{share:.2f}×",
        target=f"≥ {RAW_SHARE:g}×",
        met=share >= RAW_SHARE,
        short_by=f"{share:.2f} of the raw rate instead of {RAW_SHARE:g}",
    )


def rate(bench: Bench, side: str, **arguments: Any) -> float:
    return float(bench.measure(side, seconds_max=SECONDS_MAX, **arguments)["per_second"])


def nothing() -> float:
    """Stand in for a peer that is not installed."""
    return 0.0


def told(figures: list[float], unit: str) -> str:
    """Write the median rate with the time for each."""
    middle = statistics.median(figures)
    return f"{middle:,.0f} {unit} ({1000 / middle:.3g} ms)"


_NOTE = """
Every step returns a string of 2 KB and is durable before the next one of its job begins.
Ours and the raw limit: SQLite in WAL mode with `synchronous=FULL`.
DBOS: its SQLite system database as documented; it sets neither journal mode nor synchronous level,
so SQLite's rollback journal and FULL hold, which is as durable.
Because WAL suits it better, it is also measured with its file put into WAL mode beforehand.

All sides run async functions on uvloop, each in a process of its own with a fresh folder on the
same disk, in turns; rates are medians, ratios the median of the ratios of each round.
The clock runs from the first submission to the last result.
DBOS gets fewer steps of the same shape: the same number of jobs at once in the second shape, a
quarter of the jobs in the third, where fewer are easier for it.

Raw limit: one writer thread commits together whatever has been asked for; a step is one INSERT of
its 2 KB, awaited.
In the third shape a job is also a row that is accepted before and finished after its step.
It has no leases, fences, events, types or retries: what is missing is what the engine adds.

Replay, ours: a job that failed behind its last step is retried; timed from the retry until the code
has passed all finished steps, claim and loading included.
DBOS: a fork behind the last step; only the workflow's body is timed, not the queue before it.
"""
