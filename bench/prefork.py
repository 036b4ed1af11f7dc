"""(j) Jobs that wait for a provider, for each GiB of memory: our worker beside Celery's prefork."""

import statistics
import time

from bench.diary import lines, until, wait_for
from bench.harness import Bench, Row, SideError, Table
from bench.memory import family, total_kib
from bench.stage import Servers, servers, servers_note

TARGET_RATIO = 2_000
FEW_OURS, FEW_THEIRS = 20, 4
_KIB_PER_GIB = 1024**2
_SECONDS_MAX = 120.0
_CALM_SECONDS = 2.0

Growth = dict[str, float]
"""KiB for each further job, by field of the kernel's account."""


def measure(bench: Bench) -> Table:
    """Let many jobs wait on either side, and see what each of them adds to a few."""
    rounds = bench.plan.pick(3, 1, 1)
    jobs = bench.plan.pick(5_000, 1_000, 300)
    children = bench.plan.pick(40, 20, 2)
    with servers(bench) as both:
        ours = [_ours(both, jobs) for _ in range(rounds)]
        plain = [_prefork(both, children) for _ in range(rounds)]
        # With what a job needs to call a model at all, which ours has loaded once.
        sdk = [_prefork(both, children, BENCH_SDK="1") for _ in range(bench.plan.pick(rounds, 1, 0))]
    rows = [
        _row(ours, plain, "Celery prefork", "Pss_Anon", target=TARGET_RATIO),
        *([_row(ours, sdk, "Celery prefork with the OpenAI SDK", "Pss_Anon")] if sdk else []),
        _row(ours, plain, "Celery prefork, shared pages counted for each child", "Rss"),
    ]
    note = _NOTE.replace("JOBS", f"{jobs:,}").replace("CHILDREN", str(children))
    return Table(rows=rows, note=note + servers_note())


def _row(ours: list[Growth], theirs: list[Growth], peer: str, field: str, *, target: float = 0) -> Row:
    mine = statistics.median(each[field] for each in ours)
    other = statistics.median(each[field] for each in theirs)
    ratio = other / mine
    return Row(
        what="waiting jobs for each GiB" if target else "…",
        ours=f"{_KIB_PER_GIB / mine:,.0f} ({mine:.1f} KiB each)",
        peer=f"{peer} {_KIB_PER_GIB / other:,.0f} ({other / 1024:.1f} MiB each)",
        ratio=f"{ratio:,.0f}×",
        target=f"≥ {target:,}×" if target else "",
        met=ratio >= target if target else None,
        short_by=f"{ratio:,.0f} times instead of {target:,}",
    )


def _ours(both: Servers, jobs: int) -> Growth:
    with both.stage() as stage:
        worker = stage.worker(jobs + FEW_OURS + 100)
        stage.fill(worker, FEW_OURS)
        before = _memory(worker.pid)
        stage.ask("wait", diary=str(stage.diary), jobs=jobs)
        wait_for(stage.diary, worker.pid, FEW_OURS + jobs, seconds_max=_SECONDS_MAX)
        after = _memory(worker.pid)
    return {field: (after[field] - before[field]) / jobs for field in after}


def _prefork(both: Servers, children: int, **environment: str) -> Growth:
    few, many = (
        _waiting_children(both, count, environment) for count in (FEW_THEIRS, FEW_THEIRS + children)
    )
    return {field: (many[field] - few[field]) / children for field in many}


def _waiting_children(both: Servers, count: int, environment: dict[str, str]) -> Growth:
    """Return the memory of a prefork worker each of whose children waits in a task."""
    with both.stage() as stage:
        process = stage.celery(count, BENCH_STORE="", **environment)
        bench = stage.bench
        bench.measure(
            "celery_client", seconds_max=_SECONDS_MAX, role="wait", broker=stage.broker,
            diary=str(stage.diary), jobs=count,
        )  # fmt: skip
        if not until(lambda: len({line.pid for line in lines(stage.diary)}) == count, _SECONDS_MAX):
            raise SideError(f"not all of {count} Celery children have a task")
        return _memory(process.pid)


def _memory(pid: int) -> Growth:
    time.sleep(_CALM_SECONDS)
    return {field: total_kib(family(pid), field) for field in ("Pss_Anon", "Rss")}


_NOTE = f"""
On both sides a worker process told of jobs by Redis, and jobs that sleep, as for an answer.
Sockets to the provider, which either side would need, are not in the figure.

Ours: what JOBS more jobs waiting in a step add to one `holdfast worker` with {FEW_OURS}, all its
threads and caches included, with nothing collected by hand.
Celery: what CHILDREN more children, each waiting in a task, add to a prefork worker with
{FEW_THEIRS}; the task does nothing but sleep.

Memory is the proportional set size (PSS) of anonymous memory: pages that a child still shares with its
parent are counted once for all, and programs and libraries not at all, which is fairest to prefork.
Shown beside it: the same with the OpenAI SDK loaded in the parent, as a job that calls a model needs it;
and by resident set size (RSS), which is what the usual tools show.
"""
