"""(e) From kill -9 of a worker to the next step of its job in another worker process."""

import os
import signal
import statistics
import time

from bench.diary import lines, wait_for
from bench.harness import Bench, Row, Table

TARGET_SECONDS = 15.0
_SECONDS_MAX = 120.0


def measure(bench: Bench) -> Table:
    """Kill a worker in each round, at another moment of the heartbeat each time."""
    rounds = bench.plan.pick(5, 1, 1)
    seconds, repeated = [], 0
    for turn in range(rounds):
        taken, again = _round(bench, pause=0.3 + turn * 0.9)
        seconds.append(taken)
        repeated += again
        bench.tell(f"  rescue round {turn + 1}: {taken:.1f} s")
    worst = max(seconds)
    row = Row(
        what=f"kill -9 to the job's next step, the longest of {rounds} rounds",
        ours=f"{worst:.1f} s (median {statistics.median(seconds):.1f} s)",
        target=f"≤ {TARGET_SECONDS:g} s",
        met=worst <= TARGET_SECONDS,
        short_by=f"{worst - TARGET_SECONDS:.1f} s too long",
    )
    other = Row(
        what="steps run again after the kill, all rounds together",
        ours=str(repeated),
        target=f"≤ {rounds}: the one in flight",
        met=repeated <= rounds,
        short_by=f"{repeated - rounds} more",
    )
    return Table(rows=[row, other], note=_NOTE)


def _round(bench: Bench, pause: float) -> tuple[float, int]:
    """Return the seconds without a step and how many finished or running steps were run again."""
    with bench.fresh_folder() as folder:
        diary, log = folder / "diary.txt", folder / "errors.log"
        diary.touch()
        common = {"folder": str(folder), "diary": str(diary)}
        first = bench.start("rescue", log, **common, submits=True)
        try:
            wait_for(diary, first.pid, 1, seconds_max=_SECONDS_MAX)
            second = bench.start("rescue", log, **common, submits=False)
            try:
                assert second.stdout is not None
                second.stdout.readline()
                time.sleep(pause)
                os.kill(first.pid, signal.SIGKILL)
                killed = time.monotonic()
                went_on = wait_for(diary, second.pid, 1, seconds_max=_SECONDS_MAX)
                begun = {line.number for line in lines(diary) if line.pid == first.pid}
                again = [line for line in went_on if line.number in begun]
                return went_on[0].at - killed, len(again)
            finally:
                bench.stop(second)
        finally:
            bench.stop(first)


_NOTE = """
Two worker processes on one SQLite file, with default leases.
The first runs a job of steps of 0.1 s, the second is idle; the first is killed with SIGKILL at a
different moment of its heartbeat in each round.
The time ends when the second process begins the next step of the same job.
"""
