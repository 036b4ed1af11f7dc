"""What `tests/conftest.py` promises about every test, tried in a test run of its own."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
CONFIG = f"""[pytest]
pythonpath = {CONFTEST.parents[1]}
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
markers =
    requires(*programs): needs programs
"""
SAMPLES = {
    "test_marked.py": """
import pytest

@pytest.mark.requires("no-such-program")
def test_needs_program(): ...
""",
    "test_from_within.py": """
def test_finds_out(requires):
    requires("no-such-program", "sh")
""",
    "test_module.py": """
import pytest

pytest.importorskip("no_such_module")
""",
    "test_tasks.py": """
import asyncio

async def test_leaves_task():
    test_leaves_task.task = asyncio.create_task(asyncio.Event().wait())

async def test_cancels_task():
    asyncio.create_task(asyncio.Event().wait()).cancel()
""",
}
PLUGINS_OFF = ("cacheprovider", "randomly", "xdist", "cov")


def run_samples(folder: Path, *, ci: bool) -> str:
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "pytest.ini").write_text(CONFIG)
    for name, source in SAMPLES.items():
        (folder / name).write_text(source)
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "--continue-on-collection-errors",
            *(f"-pno:{plugin}" for plugin in PLUGINS_OFF),
        ],
        cwd=folder,
        env=environment | ({"CI": "true"} if ci else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def local_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run_samples(tmp_path_factory.mktemp("local"), ci=False)


@pytest.fixture(scope="module")
def ci_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run_samples(tmp_path_factory.mktemp("ci"), ci=True)


def test_missing_program_skips_and_is_listed_on_a_developers_machine(local_run: str):
    listed = local_run.partition("NOT RUN")[2]

    assert "2 x not on this machine: no-such-program" in listed
    assert "no_such_module" in listed


@pytest.mark.parametrize("name", ["test_marked.py", "test_from_within.py", "test_module.py"])
def test_skip_is_a_failure_in_ci(name: str, ci_run: str):
    failed = [line for line in ci_run.splitlines() if line.startswith(("FAILED ", "ERROR "))]

    assert any(name in line for line in failed), ci_run


def test_ci_run_says_why_a_skip_failed(ci_run: str):
    assert "skipped, and CI is set, so this is a failure: Skipped: not on this machine" in ci_run


def test_task_left_running_is_an_error(local_run: str):
    assert "ERROR test_tasks.py::test_leaves_task" in local_run
    assert "tasks left running after the test" in local_run


def test_task_cancelled_at_the_end_is_fine(local_run: str):
    assert "test_cancels_task PASSED" in local_run
    assert "ERROR test_tasks.py::test_cancels_task" not in local_run


async def test_async_tests_run_on_the_loop_of_workers():
    uvloop = pytest.importorskip("uvloop")

    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
