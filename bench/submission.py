"""(l) Submitting over HTTP: how long an answer takes, and how many there are a second."""

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.harness import ROOT, Bench, Row, SideError, Table

TARGET_MS = 20.0
CLIENTS = 50
PER_SECOND = 200
_SECONDS_MAX = 120.0
_CLI = (sys.executable, "-c", "from holdfast.cli import main; main()")

Service = tuple[int, str]
"""Port, and a key to submit with."""


def measure(bench: Bench) -> Table:
    """Load ours and the bare route in turns: at a pace, then as fast as they go."""
    rounds = bench.plan.pick(3, 1, 1)
    clients = bench.plan.pick(CLIENTS, CLIENTS, 3)
    paced = {"requests": bench.plan.pick(80, 20, 2), "per_second": PER_SECOND}
    flat_out = {"requests": bench.plan.pick(100, 30, 2), "per_second": 0}
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name, serve in (("ours", _holdfast), ("bare", _bare)):
            with serve(bench) as (port, key):
                for load, sizes in (("paced", paced), ("flat out", flat_out)):
                    figures = bench.measure(
                        "submitters",
                        seconds_max=_SECONDS_MAX,
                        port=port,
                        key=key,
                        clients=clients,
                        **sizes,
                    )
                    found.setdefault(f"{name} {load}", []).append(figures)
    p99 = _median(found["ours paced"], "p99_ms")
    ours, bare = (_median(found[f"{name} flat out"], "per_second") for name in ("ours", "bare"))
    rows = [
        Row(
            what=f"{clients} clients, {PER_SECOND} submissions a second together: answer within",
            ours=_answer(found["ours paced"]),
            peer=f"bare route {_answer(found['bare paced'])}",
            target=f"p99 < {TARGET_MS:g} ms",
            met=p99 < TARGET_MS,
            short_by=f"{p99 - TARGET_MS:.1f} ms too long",
        ),
        Row(
            what=f"{clients} clients without a pause: submissions",
            ours=f"{ours:,.0f}/s",
            peer=f"bare route {bare:,.0f}/s",
            ratio=f"{ours / bare:.2f}×",
        ),
        Row(
            what="… answer within",
            ours=_answer(found["ours flat out"]),
            peer=f"bare route {_answer(found['bare flat out'])}",
        ),
    ]
    return Table(rows=rows, note=_NOTE)


@contextlib.contextmanager
def _holdfast(bench: Bench) -> Iterator[Service]:
    """Run `holdfast serve` with a key that may submit, and nothing else."""
    port = _free_port()
    with bench.fresh_folder() as folder:
        variables = {
            "HOLDFAST_HOME": str(folder),
            "HOLDFAST_APP": "bench.sides.submission_app:app",
            "HOLDFAST_AUTH": "required",
            "HOLDFAST_PORT": str(port),
            "HOLDFAST_CLIENT_REQUESTS_PER_MINUTE": "1000000",
        }
        made = subprocess.run(
            (*_CLI, "keys", "new", "bench", "--allow", "submit"),
            cwd=ROOT,
            env={**os.environ, **variables},
            capture_output=True,
            check=True,
            text=True,
        )
        with _running(
            bench,
            lambda log: bench.run((*_CLI, "serve", "--no-worker"), log, variables),
            folder / "serve.log",
            port,
        ):
            yield port, made.stdout.strip()


@contextlib.contextmanager
def _bare(bench: Bench) -> Iterator[Service]:
    port = _free_port()
    with (
        bench.fresh_folder() as folder,
        _running(
            bench,
            lambda log: bench.start("bare_route", log, folder=str(folder), port=port),
            folder / "errors.log",
            port,
        ),
    ):
        yield port, "none"


@contextlib.contextmanager
def _running(
    bench: Bench, start: Callable[[Path], "subprocess.Popen[bytes]"], log: Path, port: int
) -> Iterator[None]:
    process = start(log)
    try:
        _await_port(process, port, log)
        yield
    finally:
        bench.stop(process)


def _await_port(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + _SECONDS_MAX
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise SideError(f"nothing answers at port {port}\n{log.read_text()[-2_000:]}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _median(figures: list[dict[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in figures)


def _answer(figures: list[dict[str, float]]) -> str:
    p50, p99 = (_median(figures, name) for name in ("p50_ms", "p99_ms"))
    return f"{p50:.1f} ms (p99 {p99:.1f} ms)"


_NOTE = """
`holdfast serve --no-worker` on SQLite with a key that may submit; every answer is to a job that is
fsynced.
Every client has a kept connection and one request under way; the clients are a process of their own
on the same machine, whose two cores they share with the server.
At a pace, each client has its fixed times, and a request that could not be sent in time counts from
when it was due.

The bare route is FastAPI on uvicorn that checks the same body and inserts one row; rows that came
together are committed together by one writer, with the same `synchronous=FULL`.
It has no keys, idempotency, events, limits or headers: what is missing is what the service adds.

Answers are medians and 99th percentiles of a round, and of these the median of the rounds.
"""
