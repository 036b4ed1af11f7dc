"""The harness at its least: every script runs, the page is written, nothing is left behind."""

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from bench import diary, machines, memory, page, products, servers, writing
from bench.__main__ import FIGURES
from bench.harness import ROOT, Bench, Plan, Row, SideError, Table, alternate, pairwise
from holdfast.testing.servers import postgres as postgres_server
from holdfast.testing.servers.programs import find_program, program


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=230, check=False)


SERVERS = ("initdb", "postgres", "redis-server")
NEEDS = {
    "postgres": SERVERS[:2],
    "products": SERVERS[:2],
    **dict.fromkeys(("fleet", "prefork", "killed", "cancel", "drain"), SERVERS),
}


# Together they take minutes: each day has its third of them, HOLDFAST_BENCH=full has all.
FULL = os.environ.get("HOLDFAST_BENCH", "") == "full"
THIRD = datetime.now(UTC).toordinal() % 3
NAMES = [name for number, name in enumerate(FIGURES) if FULL or number % 3 == THIRD]


@pytest.mark.process
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.requires(*NEEDS.get(name, ()))) for name in NAMES]
)
def test_figure_runs_at_its_least_and_writes_its_table(name: str, tmp_path: Path):
    out, folder = tmp_path / "performance.md", tmp_path / "runs"

    done = run_bench(name, "--tiny", "--out", str(out), "--folder", str(folder))

    assert done.returncode in {0, 1}, done.stderr
    assert f"## {FIGURES[name][0]}" in out.read_text()
    assert "| what | ours |" in out.read_text()
    assert not folder.exists()


def test_unknown_figure_is_refused_by_name():
    done = run_bench("speed")

    assert done.returncode == 2
    assert "no figure is named 'speed'" in done.stderr


@pytest.fixture
def bench(tmp_path: Path):
    bench = Bench(Plan(tiny=True), tmp_path / "runs", tell=lambda _: None)
    yield bench
    bench.close()


def test_side_that_fails_is_reported_with_its_errors(bench: Bench):
    with pytest.raises(SideError, match="unexpected keyword argument 'nonsense'"):
        bench.measure("raw_steps", seconds_max=15, nonsense=1)


def test_side_that_takes_too_long_is_ended(bench: Bench, tmp_path: Path):
    with pytest.raises(SideError, match=r"took over 0\.05 s"):
        bench.measure("raw_steps", seconds_max=0.05, jobs=1, steps=1)

    assert not list((tmp_path / "runs").iterdir())


def test_close_ends_programs_that_still_run(bench: Bench, tmp_path: Path):
    process = bench.start(
        "raw_steps", tmp_path / "errors.log", folder=str(tmp_path), jobs=1, steps=10**9
    )

    bench.close()

    assert process.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_sides_are_measured_in_turns():
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return 1.0

    alternate(2, partial(side, "a"), partial(side, "b"))

    assert order == ["a", "b", "a", "b"]


def test_ratio_is_the_median_of_the_ratios_of_each_round():
    assert pairwise([10, 1, 30], [5, 1, 10]) == 2


def test_diary_is_read_up_to_its_last_whole_line(tmp_path: Path):
    path = tmp_path / "diary.txt"
    diary.note(path, 7)
    whole = diary.lines(path)
    with path.open("a") as file:
        file.write("12 3")

    assert diary.lines(path) == whole
    assert [(line.pid, line.number) for line in whole] == [(os.getpid(), 7)]
    with pytest.raises(SideError, match=r"began 1 of 2 steps in 0\.05 s"):
        diary.wait_for(path, os.getpid(), 2, seconds_max=0.05)


def test_shared_memory_is_counted_once_for_a_family():
    pids = memory.family(os.getpid())

    assert 0 < memory.total_kib(pids, "Pss") <= memory.total_kib(pids, "Rss")


def test_server_that_is_not_there_is_told_of(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres_server, "program", lambda name: program(f"{name}-of-nowhere"))

    with (
        pytest.raises(SideError, match="'initdb-of-nowhere' is not on this machine"),
        servers.running(postgres_server.Postgres()),
    ):
        pass

    assert servers.version_of("postgres-of-nowhere") == ""


def test_machines_reach_this_one_and_not_each_other():
    with machines.machines(2) as made:
        if made is None:
            # Then the figure is measured on loopback, and says so.
            assert not may_make_networks()
            return
        with socket.create_server((made[0].gateway, 0)) as server:
            port = server.getsockname()[1]
            here, elsewhere = (connects(machine, made[0].gateway, port) for machine in made)

    assert (here, elsewhere) == (True, False)


def may_make_networks() -> bool:
    ip = find_program("ip")
    if ip is None:
        return False
    name = f"holdfast-test-{os.getpid()}"
    made = subprocess.run((ip, "netns", "add", name), capture_output=True, check=False)
    subprocess.run((ip, "netns", "delete", name), capture_output=True, check=False)
    return made.returncode == 0


def connects(machine: machines.Machine, host: str, port: int) -> bool:
    code = f"import socket; socket.create_connection(({host!r}, {port}), timeout=2)"
    command = [*machine.within, sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_page_keeps_sections_that_were_not_measured(tmp_path: Path):
    path, order = tmp_path / "page.md", {"first": "First", "second": "Second"}
    table = Table(
        rows=[Row(what="speed", ours="1 | 2", target="≤ 3", met=False, short_by="far")], note="\nHow.\n"
    )
    page.update(
        path, order, {name: page.section(title, name, "2 cores", table) for name, title in order.items()}
    )
    before = path.read_text()

    page.update(path, order, {"second": page.section("Second", "second", "4 cores", table)})

    assert path.read_text() == "4 cores".join(before.rsplit("2 cores", 1))
    assert "| speed | 1 \\| 2 |  |  | ≤ 3 | **not met**: far |" in before


@pytest.mark.parametrize(
    ("charged", "seconds"),
    [
        # 6,000 calls' worth of tokens is nothing: the requests' bucket decides.
        (1, 6_000 / (500 / 60) - 10 + 0.5 + 1),
        # 100 tokens a call: the tokens' bucket decides.
        (900, 6_000 * 900 / 7_500 - 10 + 0.5 + 1),
    ],
)
def test_shortest_time_follows_the_slower_bucket(charged: int, seconds: float):
    calls = [{"charged_tokens": charged, "output_tokens": 70} for _ in range(6_000)]

    assert writing.minimum_of(calls).seconds == pytest.approx(seconds)


def test_shortest_time_is_never_below_the_longest_call():
    calls = [{"charged_tokens": 1, "output_tokens": 7_000}, {"charged_tokens": 1, "output_tokens": 7}]

    assert writing.minimum_of(calls).seconds == pytest.approx(100.5)


def test_best_order_has_the_longest_answers_first():
    long, short = ({"charged_tokens": 75_000, "output_tokens": tokens} for tokens in (7_000, 70))

    assert writing.best_order_seconds([short, long]) == pytest.approx(100.5)
    assert writing.best_order_seconds([short, long, long]) == pytest.approx(10 + 100.5)


def test_blueprint_is_as_long_as_the_longest_call_of_each_round():
    calls = [{"charged_tokens": 1, "output_tokens": tokens} for tokens in (70, 70, 70, 70, 700, 70)]

    assert products.shortest_writing(products.BLUEPRINT, calls) == pytest.approx(10.5 + 1.5)
    assert products.shortest_writing(products.CLARITY, calls) == pytest.approx(10.5)


def test_time_of_an_order_counts_the_writing_in_the_providers_time():
    assert products.in_full({"seconds": 30.0, "writing_seconds": 10.0}, 3) == 50


def test_peaks_are_of_the_process_its_largest_child_and_all_together():
    with memory.Peaks([os.getpid()]) as peaks:
        child = subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE)
        assert diary.until(lambda: peaks.child_mb(os.getpid()) > 0, 10)
        child.communicate(b"\n")

    own, largest, together = (
        look(os.getpid()) for look in (peaks.own_mb, peaks.child_mb, peaks.family_mb)
    )
    assert 0 < largest < own < together
