"""The container file: clean for its linter, and in agreement with the package and the worker."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest

from holdfast.metrics import MetricsServer
from tests.deploy.files import DEPLOY, ROOT, dockerfile, parsed, setting_variables

TROUBLES: list[str] = []


@pytest.fixture
def health() -> Iterator[MetricsServer]:
    """What a worker answers with, well or not as `TROUBLES` says."""
    TROUBLES.clear()
    server = MetricsServer(0, lambda: TROUBLES)
    yield server
    server.close()


def check_health(port: int) -> int:
    """Run the image's health check against a server of this machine."""
    (line,) = dockerfile("HEALTHCHECK")
    _, *command = json.loads(line.partition("CMD ")[2])
    here = [word.replace(":9464/", f":{port}/") for word in command]
    assert here != command
    return subprocess.run([sys.executable, *here], capture_output=True, check=False).returncode


def test_installed_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    asked = re.findall(r"--extra (\S+)", " ".join(dockerfile("RUN")))

    assert asked
    assert set(asked) <= set(extras)


def test_what_is_copied_exists_and_reaches_the_build():
    sent = {
        line.removeprefix("!")
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }

    copied = {word for line in dockerfile("COPY") if "--from" not in line for word in line.split()[:-1]}

    assert copied == sent
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_environment_is_of_settings():
    ours = re.findall(r"\b((?:HOLDFAST|AWS|OPENAI)_\w+)=", " ".join(dockerfile("ENV")))

    assert ours
    assert set(ours) <= setting_variables()


def test_image_runs_a_worker_as_nobody_special_and_passes_signals_on():
    (user,) = dockerfile("USER")
    (entrypoint,) = map(json.loads, dockerfile("ENTRYPOINT"))
    (command,) = map(json.loads, dockerfile("CMD"))

    name, options = parsed(command)

    assert int(user.partition(":")[0]) > 0
    assert entrypoint == ["tini", "--", "holdfast"]
    assert name == "holdfast worker"
    assert dockerfile("EXPOSE") == [str(options["metrics_port"])]
    assert f":{options['metrics_port']}/health/live'" in dockerfile("HEALTHCHECK")[0]


def test_health_check_tells_a_well_worker_from_a_stuck_one_and_from_none(health):
    assert check_health(health.port) == 0

    TROUBLES.append("the event loop has been stuck for 40 seconds")
    assert check_health(health.port) != 0

    assert check_health(1) != 0
