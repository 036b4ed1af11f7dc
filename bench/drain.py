"""(i) From SIGTERM of a worker with a thousand waiting jobs until it is gone and they are free."""

import signal
import statistics
import subprocess
import time

from bench.harness import Bench, Row, SideError, Table
from bench.stage import Stage, servers, servers_note

TARGET_SECONDS = 5.0
GRACE_SECONDS = 1.0
_SECONDS_MAX = 60.0


def measure(bench: Bench) -> Table:
    """Drain a worker in each round, then count what it has handed back."""
    jobs = bench.plan.pick(1_000, 300, 5)
    rounds = bench.plan.pick(3, 1, 1)
    seconds, queued = list[float](), list[int]()
    with servers(bench) as both:
        for turn in range(rounds):
            with both.stage() as stage:
                taken, back = _round(stage, jobs)
            seconds.append(taken)
            queued.append(back)
            bench.tell(f"  drain round {turn + 1}: {taken:.1f} s, {back} handed back")
    worst, fewest = max(seconds), min(queued)
    rows = [
        Row(
            what=f"SIGTERM with {jobs:,} waiting jobs until the process is gone,"
            f" the longest of {rounds} rounds",
            ours=f"{worst:.1f} s (median {statistics.median(seconds):.1f} s)",
            target=f"≤ {TARGET_SECONDS:g} s",
            met=worst <= TARGET_SECONDS,
            short_by=f"{worst - TARGET_SECONDS:.1f} s too long",
        ),
        Row(
            what="… jobs queued again by then, the fewest",
            ours=f"{fewest:,}",
            target=f"{jobs:,}",
            met=fewest == jobs,
            short_by=f"{jobs - fewest:,} are not",
        ),
    ]
    return Table(rows=rows, note=_NOTE + servers_note())


def _round(stage: Stage, jobs: int) -> tuple[float, int]:
    """Return the seconds until the process was gone, and how many jobs are queued then."""
    worker = stage.worker(jobs, HOLDFAST_DRAIN_GRACE_SECONDS=f"{GRACE_SECONDS:g}")
    stage.fill(worker, jobs)
    worker.send_signal(signal.SIGTERM)
    began = time.monotonic()
    try:
        status = worker.wait(_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise SideError(f"the worker has not left within {_SECONDS_MAX:g} s") from None
    taken = time.monotonic() - began
    if status != 0:
        raise SideError(f"the worker left with {status}")
    return taken, stage.ask("statuses").get("queued", 0)


_NOTE = f"""
One `holdfast worker`, every slot of which holds a job that waits in a step.
Steps may go on for {GRACE_SECONDS:g} s after the signal (`HOLDFAST_DRAIN_GRACE_SECONDS`), which none
of these ends in, so that second is part of the figure.
"""
