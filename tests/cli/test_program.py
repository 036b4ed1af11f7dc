"""The frame of all commands: global options, exit statuses, errors."""

import json
import os
import subprocess
import sys

import pytest

from holdfast.cli.exits import ExitStatus, status_of_error
from holdfast.errors import (
    ArtifactError,
    ConfigError,
    IdempotencyConflictError,
    InvalidInputError,
    JobFailedError,
    JobNotFoundError,
    RequestTimeoutError,
    StoreUnavailableError,
)
from tests.cli.conftest import ROOT, Command

HEAVY = ("alembic", "genai_prices", "numpy", "openai", "pikepdf", "skyfield", "sqlalchemy", "typst")


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_version_names_the_release(holdfast: Command):
    ended = holdfast("--version")

    assert (ended.status, ended.out) == (0, "holdfast 0.1.0\n")


def test_help_loads_nothing_heavy():
    """`--help` answers at once because what takes long to import is imported where it is used."""
    ended = python(
        "import sys; from holdfast.cli.program import run; run(['report', '--help']);"
        f"sys.stderr.write(','.join(name for name in {HEAVY!r} if name in sys.modules))"
    )

    assert ended.stderr == ""
    assert "--born" in ended.stdout


def test_unknown_command_is_a_usage_error(holdfast: Command):
    ended = holdfast("reprot")

    assert ended.status == ExitStatus.USAGE
    assert "reprot" in ended.err


def test_setting_that_cannot_be_used_is_named(holdfast: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_CONCURRENCY", "many")

    ended = holdfast("jobs", "list")

    assert ended.status == ExitStatus.CONFIGURATION
    assert ended.err.startswith("error: settings cannot be used: ")
    assert "concurrency" in ended.err
    assert "Traceback" not in ended.err


def test_traceback_is_shown_on_demand(holdfast: Command):
    plain = holdfast("--store", "mongodb://x", "jobs", "list")
    debug = holdfast("--debug", "--store", "mongodb://x", "jobs", "list")

    assert (plain.status, debug.status) == (78, 78)
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert "sqlite:///relative.db" in plain.err


def test_application_that_cannot_be_imported_is_a_configuration_error(holdfast: Command):
    ended = holdfast("--app", "no.such.module:app", "worker")

    assert ended.status == ExitStatus.CONFIGURATION
    assert "'no.such.module:app'" in ended.err


def test_home_option_wins_over_the_environment(
    holdfast: Command, monkeypatch: pytest.MonkeyPatch, tmp_path
):
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path / "environment"))

    holdfast("--home", str(tmp_path / "option"), "jobs", "list")

    assert [path.name for path in tmp_path.iterdir()] == ["option"]


def test_reader_that_leaves_is_no_error(sample: Command):
    for number in range(5):
        sample("jobs", "submit", "sums", json.dumps({"items": number}))

    ended = subprocess.run(
        [
            "bash",
            "-c",
            '"$0" -c "from holdfast.cli import main; main()" jobs list --json | head -c 1',
            sys.executable,
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.stdout, ended.stderr) == ("[", "")


def test_colours_are_left_out_where_they_are_not_wanted(holdfast: Command):
    ended = holdfast("doctor", "--offline")

    assert "\x1b[" not in ended.out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (JobNotFoundError(job_id="job_1"), 5),
        (IdempotencyConflictError(key="k", job_id="job_1"), 6),
        (InvalidInputError("no"), 2),
        (JobFailedError("failed"), 3),
        (RequestTimeoutError(seconds=15), 69),
        (StoreUnavailableError("locked"), 69),
        (ConfigError("no"), 78),
        (ArtifactError("gone"), 1),
    ],
)
def test_errors_end_with_their_status(error, status):
    assert status_of_error(error) == status
