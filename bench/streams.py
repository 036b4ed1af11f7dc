"""(m) Live streams: from a commit until the event is with all who follow the job."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.diary import until
from bench.harness import Bench, Row, SideError, Table
from holdfast.testing.servers.base import free_port

TARGET_SECONDS = 0.25

_HOLDFAST = (sys.executable, "-c", "from holdfast.cli import main; main()")
_APP = ("--app", "bench.sides.streams_app:app")
_READY_SECONDS_MAX = 60.0
_ASK_SECONDS_MAX = 240.0


def measure(bench: Bench) -> Table:
    """Follow jobs by server-sent events, the worker in the server's process and apart."""
    streams, seconds = bench.plan.pick((2_000, 15.0), (400, 5.0), (20, 1.0))
    many, one = streams // 10, 1
    rows = _row(
        f"{streams:,} streams of {many} jobs, worker in the server's process",
        _ours(bench, many, streams, seconds, apart=False),
        _limit(bench, many, streams, seconds),
    )
    rows += _row("… worker in another process", _ours(bench, many, streams, seconds, apart=True))
    if not bench.plan.tiny:  # the same programs with another number
        rows += _row(
            f"{streams:,} streams of one job",
            _ours(bench, one, streams, seconds, apart=False),
            _limit(bench, one, streams, seconds),
        )
    return Table(rows=rows, note=_NOTE)


def _row(what: str, ours: dict[str, float], limit: dict[str, float] | None = None) -> list[Row]:
    ratio = f"{limit['p95'] / ours['p95']:.2f}×" if limit else ""
    timing = Row(
        what=what,
        ours=_shown(ours),
        peer=f"bare asyncio server {_shown(limit)}" if limit else "",
        ratio=ratio,
        target=f"p95 < {TARGET_SECONDS * 1000:.0f} ms",
        met=ours["p95"] < TARGET_SECONDS,
        short_by=f"{(ours['p95'] - TARGET_SECONDS) * 1000:.0f} ms too long",
    )
    peer_busy = f"bare asyncio server {limit['busy'] * 1e6:.0f} µs" if limit else ""
    return [
        timing,
        Row(
            what="… processor time of the server for each event and client",
            ours=f"{ours['busy'] * 1e6:.0f} µs",
            peer=peer_busy,
        ),
        Row(what="… memory of each stream", ours=f"{ours['kib']:.1f} KiB"),
    ]


def _shown(found: dict[str, float]) -> str:
    p50, p95, p99 = (f"{found[name] * 1000:.1f}" for name in ("p50", "p95", "p99"))
    return f"p50 {p50} ms, p95 {p95} ms, p99 {p99} ms"


def _ours(bench: Bench, jobs: int, streams: int, seconds: float, *, apart: bool) -> Any:
    with bench.fresh_folder() as folder:
        environment = {
            "HOLDFAST_HOME": str(folder / "home"),
            "HOLDFAST_PROVIDER": "scripted",
            "HOLDFAST_LOG_LEVEL": "info",
            "HOLDFAST_CONCURRENCY": str(jobs + 10),
            "BENCH_SECONDS_BETWEEN": _between(jobs),
        }
        port = free_port()
        worker = "--no-worker" if apart else "--worker"
        with contextlib.ExitStack() as stack:
            serve = ("serve", "--port", str(port), worker)
            pid = stack.enter_context(_started(bench, serve, folder, environment, "serving"))
            if apart:
                stack.enter_context(_started(bench, ("worker",), folder, environment, "ready"))
            home = environment["HOLDFAST_HOME"]
            return _ask(
                bench, port=port, pid=pid, home=home, jobs=jobs, streams=streams, seconds=seconds
            )


def _limit(bench: Bench, jobs: int, streams: int, seconds: float) -> Any:
    with bench.fresh_folder() as folder:
        server = bench.start(
            "broadcast",
            folder / "broadcast.log",
            folder=str(folder),
            names=jobs,
            seconds_between=float(_between(jobs)),
        )
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            return _ask(
                bench, port=port, pid=server.pid, home="", jobs=jobs, streams=streams, seconds=seconds
            )
        finally:
            bench.stop(server)


def _between(jobs: int) -> str:
    """Seconds between what a job says: a thousand or two of deliveries a second in all."""
    return "0.5" if jobs == 1 else "1.0"


def _ask(bench: Bench, **arguments: Any) -> Any:
    return bench.measure("streams_client", seconds_max=_ASK_SECONDS_MAX, **arguments)


@contextlib.contextmanager
def _started(
    bench: Bench, arguments: tuple[str, ...], folder: Path, environment: dict[str, str], word: str
) -> Iterator[int]:
    """Run a command of ours and give its process id once it says the word."""
    log = folder / f"{arguments[0]}.log"
    process: subprocess.Popen[bytes] = bench.run((*_HOLDFAST, *_APP, *arguments), log, environment)

    def said() -> bool:
        return bool(re.search(rf"info: {word}\b", log.read_text(errors="replace")))

    try:
        until(lambda: said() or process.poll() is not None, _READY_SECONDS_MAX)
        if not said():
            raise SideError(f"{arguments[0]} is not ready:\n{log.read_text(errors='replace')[-2_000:]}")
        yield process.pid
    finally:
        bench.stop(process)


_NOTE = """
One `holdfast serve` on SQLite, and one client process that opens all streams by server-sent events.
Each job emits an event of 100 characters every second, all at moments of their own; the one job that
everybody follows, twice a second.
Timed from the date that the store gives the event, before its commit, until the client has its bytes.

The limit: a server of bare asyncio protocols, without HTTP library, store or jobs, that sends the same
bytes to the same client at the same pace.
The processor time is that of the whole process, with the worker and its commits where it has one; unlike
the delays, it hardly depends on what else the machine does.
Where the worker is another process, SQLite tells nobody of its commits: the server looks for them ten
times a second.
On PostgreSQL it is told.
"""
