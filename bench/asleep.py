"""(b) Thousands of jobs that wait in one process, and what each costs."""

import statistics

from bench.harness import Bench, Row, Table

TARGET_KIB = 12.0
_SECONDS_MAX = 180.0


def measure(bench: Bench) -> Table:
    """Measure jobs in a waiting step, and jobs that are durably suspended."""
    jobs = bench.plan.pick(5_000, 2_000, 50)
    rounds = bench.plan.pick(3, 1, 1)
    calm = bench.plan.pick(3.0, 2.0, 0.1)
    in_step, suspended = (
        [
            bench.measure("asleep", seconds_max=_SECONDS_MAX, work=work, jobs=jobs, calm=calm)
            for _ in range(rounds)
        ]
        for work in ("in_step", "suspended")
    )
    kib = statistics.median(found["kib_each"] for found in in_step)
    durable = statistics.median(found["kib_each"] for found in suspended)
    started = statistics.median(found["seconds"] for found in in_step)
    slept = statistics.median(found["seconds"] for found in suspended)
    held = max(found["slots_held"] for found in suspended)
    rows = [
        Row(
            what=f"{jobs:,} jobs waiting inside a step, memory of each",
            ours=f"{kib:.1f} KiB",
            target=f"≤ {TARGET_KIB:g} KiB",
            met=kib <= TARGET_KIB,
            short_by=f"{kib - TARGET_KIB:.1f} KiB too much",
        ),
        Row(
            what="… the whole process",
            ours=f"{statistics.median(found['rss_kib'] for found in in_step) / 1024:.0f} MiB",
        ),
        Row(what="… from the first submission until all wait", ours=f"{started:.1f} s"),
        Row(
            what="… processor time of the process meanwhile",
            ours=f"{statistics.median(found['idle_cpu'] for found in in_step):.1%} of a core",
        ),
        Row(
            what=f"{jobs:,} jobs durably asleep, slots held",
            ours=f"{held:g}",
            target="0",
            met=held == 0,
            short_by=f"{held:g} held",
        ),
        Row(what="… memory of each", ours=f"{durable:.1f} KiB"),
        Row(
            what="… from the first submission until all are suspended, through 100 slots",
            ours=f"{slept:.1f} s",
        ),
    ]
    return Table(rows=rows, note=_NOTE)


_NOTE = """
One worker process.
Memory is the growth of the resident set from a started worker with 20 such jobs to all jobs
waiting, garbage collected, divided by the jobs; it includes what SQLite caches and what the
allocator keeps.
A waiting step awaits an event, as a model call awaits its socket, whose own buffers are not in the
figure.
"""
