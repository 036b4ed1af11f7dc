"""(k) Jobs a second through a broker, beside the least that Celery can do for a job not to be lost."""

import statistics
from functools import partial
from typing import Any

import psycopg

from bench.harness import Bench, Row, Table, alternate, pairwise
from bench.sides.celery_app import TABLE
from bench.stage import Servers, Stage, servers, servers_note

CHILDREN = 8
"""More than cores, for a task waits for its commit."""
_SECONDS_MAX = 240.0

Found = dict[str, float]


def measure(bench: Bench) -> Table:
    """Measure both sides in turns, each in a fresh database and with Redis as durable as it needs."""
    jobs = bench.plan.pick(2_000, 500, 10)
    peer_jobs = bench.plan.pick(1_000, 300, 10)
    rounds = bench.plan.pick(3, 1, 1)
    with servers(bench) as in_memory, servers(bench, aof=True) as logged:
        ours, theirs, careless = alternate(
            rounds,
            partial(_round, in_memory, _ours, jobs),
            partial(_round, logged, _celery, peer_jobs),
            partial(_round, in_memory, _celery, peer_jobs),
        )
    rows = [
        _row("jobs of one step, from submission to result", ours, theirs, "Celery, Redis with AOF"),
        _row("…", ours, careless, "Celery, Redis in memory only"),
    ]
    note = _NOTE.replace("PEER_JOBS", f"{peer_jobs:,}").replace("JOBS", f"{jobs:,}")
    return Table(rows=rows, note=note + servers_note())


def _row(what: str, ours: list[float], theirs: list[float], peer: str) -> Row:
    return Row(
        what=what,
        ours=f"{statistics.median(ours):,.0f} jobs/s",
        peer=f"{peer} {statistics.median(theirs):,.0f} tasks/s",
        ratio=f"{pairwise(ours, theirs):.2f}×",
    )


def _round(both: Servers, side: Any, jobs: int) -> float:
    with both.stage() as stage:
        return float(side(stage, jobs)["per_second"])


def _ours(stage: Stage, jobs: int) -> Found:
    stage.worker(jobs)
    found: Found = stage.ask("throughput", jobs=jobs)
    return found


def _celery(stage: Stage, jobs: int) -> Found:
    with psycopg.connect(stage.store, autocommit=True) as connection:
        connection.execute(TABLE)
    stage.celery(CHILDREN, BENCH_STORE=stage.store)
    found: Found = stage.bench.measure(
        "celery_client", seconds_max=_SECONDS_MAX, role="throughput", broker=stage.broker,
        store=stage.store, jobs=jobs,
    )  # fmt: skip
    return found


_NOTE = f"""
Ours: JOBS jobs submitted at once by a client process to one `holdfast worker`, told of them by Redis;
each has one step that returns 2 KB.
A job is durable in PostgreSQL when `submit` returns; its claim, its step's result and its end are
durable, too; a lease and a fence guard it; the client learns of its end.
Redis carries hints only and is in memory.

Celery: PEER_JOBS tasks by a plain prefork worker with {CHILDREN} children, each task one committed row
of 2 KB; the client sends from several threads and counts the rows.
With AOF (`appendfsync always`) and late acknowledgement a task is not lost for good, but after a kill
it comes again only after the visibility timeout, and then perhaps twice; there are no checkpoints, no
state to ask for, no cancel.
In memory only, a crash of Redis loses all that waits.

So Celery does less for each job than ours; there is no target, the rates stand side by side.
"""
