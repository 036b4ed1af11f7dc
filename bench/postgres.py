"""(g) Durable steps on PostgreSQL, beside DBOS on the same server and the least that is durable."""

from functools import partial
from typing import Any

from bench.harness import Bench, Plan, Row, Table, alternate, installed
from bench.servers import running, version_of
from bench.steps import Workload, against, limit, nothing, rate
from holdfast.testing.servers.postgres import Postgres


def workloads(plan: Plan) -> list[Workload]:
    """Return both shapes; the peer's rate does not grow with the size, so it gets less to do."""
    at_once = plan.pick(200, 200, 5)
    return [
        Workload(
            name="one job, its steps one after another",
            unit="steps/s",
            jobs=1,
            steps=plan.pick(1_000, 400, 10),
            peer_jobs=1,
            peer_steps=plan.pick(500, 200, 3),
            target=6,
        ),
        Workload(
            name=f"{at_once} jobs at once",
            unit="steps/s",
            jobs=at_once,
            steps=plan.pick(50, 20, 2),
            peer_jobs=at_once,
            peer_steps=plan.pick(10, 3, 1),
            target=25,
        ),
    ]


def measure(bench: Bench) -> Table:
    """Measure both shapes in turns, each time in a database that nobody has used."""
    rounds = bench.plan.pick(3, 1, 1)
    table = Table(note=_NOTE.replace("SERVER", version_of("postgres")))
    with running(Postgres(fsync=True)) as server:
        for workload in workloads(bench.plan):
            table.rows += _compare(bench, server, workload, rounds)
    return table


def _compare(bench: Bench, server: Postgres, work: Workload, rounds: int) -> list[Row]:
    sizes = {"jobs": work.jobs, "steps": work.steps}
    peer = {"jobs": work.peer_jobs, "steps": work.peer_steps}
    fresh = partial(_in_fresh_database, bench, server)
    ours, raw, dbos = alternate(
        rounds,
        partial(fresh, "holdfast_steps", work="throughput", **sizes),
        partial(fresh, "raw_postgres", **sizes) if installed("asyncpg") else nothing,
        partial(fresh, "dbos_steps", work="throughput", **peer) if installed("dbos") else nothing,
    )
    rows = [against(work.name, ours, dbos, work.unit, work.target)]
    return [*rows, limit("asyncpg", ours, raw, work.unit)] if all(raw) else rows


def _in_fresh_database(bench: Bench, server: Postgres, side: str, **arguments: Any) -> float:
    name = "bench"
    url = server.create_database(name)
    try:
        return rate(bench, side, url=url, **arguments)
    finally:
        # Ends with a checkpoint, so that no side pays for the writes of the one before.
        server.drop_database(name)


_NOTE = """
The same shapes as on SQLite, on SERVER with `fsync` and `synchronous_commit` on and otherwise its
defaults, started for this, with its data in the system's temporary folder.
Client and server share the machine's cores.

Each side in a process of its own and a fresh database, in turns; rates are medians, ratios the
median of the ratios of each round.
DBOS: its PostgreSQL system database as documented; fewer steps of the same shape.

Raw limit: one asyncpg connection; all steps that wait are one INSERT over `unnest` into a table with
the same key, each awaiting the commit of its 2 KB.
It has no leases, fences, events, types or retries: what is missing is what the engine adds.
"""
