"""(h) From kill -9 of a worker with hundreds of jobs until another one runs them all."""

import os
import signal
import statistics
import time

from bench.diary import wait_for
from bench.harness import Bench, Row, Table
from bench.stage import Stage, servers, servers_note

TARGET_SECONDS = 15.0
_SECONDS_MAX = 120.0


def measure(bench: Bench) -> Table:
    """Kill a worker in each round, at another moment of the heartbeat each time."""
    jobs = bench.plan.pick(300, 100, 5)
    rounds = bench.plan.pick(3, 1, 1)
    first, last = list[float](), list[float]()
    with servers(bench) as both:
        for turn in range(rounds):
            with both.stage() as stage:
                begun = _round(stage, jobs, pause=0.3 + turn * 1.1)
            first.append(min(begun))
            last.append(max(begun))
            bench.tell(f"  round {turn + 1}: the first after {first[-1]:.1f} s, all {last[-1]:.1f} s")
    worst = max(last)
    rows = [
        Row(
            what=f"kill -9 of a worker with {jobs} jobs to the last of them running again,"
            f" the longest of {rounds} rounds",
            ours=f"{worst:.1f} s (median {statistics.median(last):.1f} s)",
            target=f"≤ {TARGET_SECONDS:g} s",
            met=worst <= TARGET_SECONDS,
            short_by=f"{worst - TARGET_SECONDS:.1f} s too long",
        ),
        Row(what="… the first of them", ours=f"{statistics.median(first):.1f} s"),
    ]
    return Table(rows=rows, note=_NOTE + servers_note())


def _round(stage: Stage, jobs: int, pause: float) -> list[float]:
    """Return after how many seconds each job ran again."""
    victim = stage.worker(jobs + 100)
    stage.fill(victim, jobs)
    rescuer = stage.worker(jobs + 100)
    time.sleep(pause)
    os.kill(victim.pid, signal.SIGKILL)
    killed = time.monotonic()
    begun = wait_for(stage.diary, rescuer.pid, jobs, seconds_max=_SECONDS_MAX)
    return [line.at - killed for line in begun]


_NOTE = """
Two `holdfast worker` processes with default leases, told of jobs by Redis.
The first holds all jobs, each waiting in a step; the second is idle.
The first is killed with SIGKILL at a different moment of its heartbeat in each round.
The time ends when the second one has begun that step of every job.
"""
