"""What every test gets: one event loop like production's, no task left behind, honest skips."""

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Callable, Generator, Mapping

import hypothesis
import pytest

from holdfast.testing.servers.programs import find_program

try:
    import uvloop
except ImportError:  # not on Windows
    uvloop = None  # type: ignore[assignment]

pytest_plugins = ["tests.servers"]

CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if CI else "local")


# --- programs that a machine may not have --------------------------------------------------


def missing_programs(*programs: str) -> list[str]:
    """Return those of `programs` that are nowhere on this machine."""
    return [program for program in programs if find_program(program) is None]


def skip_unless_present(*programs: str) -> None:
    missing = missing_programs(*programs)
    if missing:
        pytest.skip(f"not on this machine: {', '.join(missing)}")


@pytest.fixture(scope="session")
def requires() -> Callable[..., None]:
    """Skip the test from within unless the named programs are there; same rule as the marker."""
    return skip_unless_present


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("requires"):
        skip_unless_present(*marker.args)


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure: what continuous integration does not run, nobody runs."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI is set, so this is a failure: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if CI:
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if CI:
        refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was not run, by reason, where nobody overlooks it."""
    reasons: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)
    if not reasons:
        return
    terminalreporter.section("NOT RUN", yellow=True, bold=True)
    for reason, nodeids in sorted(reasons.items()):
        terminalreporter.write_line(f"{len(nodeids)} x {reason}", yellow=True)
        for nodeid in sorted(nodeids)[:5]:
            terminalreporter.write_line(f"    {nodeid}")
        if len(nodeids) > 5:
            terminalreporter.write_line(f"    and {len(nodeids) - 5} more")


# --- event loop ----------------------------------------------------------------------------


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run async tests on the loop that workers use."""
    if uvloop is None:
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


def other_tasks() -> list[asyncio.Task[object]]:
    current = asyncio.current_task()
    return [task for task in asyncio.all_tasks() if task is not current and not task.done()]


@pytest.fixture
async def no_task_left_behind() -> AsyncIterator[None]:
    """Fail a test that leaves a task running: it belongs to nobody, and its errors are lost."""
    before = set(other_tasks())
    yield
    # A task that was cancelled just now needs a few turns of the loop to unwind.
    for _ in range(10):
        if not set(other_tasks()) - before:
            return
        await asyncio.sleep(0)
    left = sorted(repr(task) for task in set(other_tasks()) - before)
    pytest.fail("tasks left running after the test:\n  " + "\n  ".join(left), pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(name: str, obj: object) -> None:
    """Have every async test watched; requested first, so it looks after all other fixtures are gone."""
    if name.startswith("test") and inspect.iscoroutinefunction(obj):
        pytest.mark.usefixtures("no_task_left_behind")(obj)
