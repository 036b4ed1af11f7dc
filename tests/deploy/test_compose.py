"""The compose file: valid, and in agreement with settings, command line, queues and the worker."""

import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from holdfast.server.run import GRACE_SECONDS
from holdfast.settings import Settings
from tests.deploy.files import (
    DEPLOY,
    TEARDOWN_SECONDS,
    compose,
    interpolated,
    kind_queues,
    parsed,
    seconds,
    services,
    setting_variables,
)
from tests.docs.pages import broken_links

EXAMPLE = (DEPLOY / ".env.example").read_text()
ASSIGNED = re.findall(r"^#?([A-Z][A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE)
WORKERS = {name: body for name, body in services(ours=True).items() if name.startswith("worker-")}


def has_compose() -> bool:
    docker = shutil.which("docker")
    return (
        docker is not None
        and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
        == 0
    )


def test_file_follows_the_compose_specification():
    vendored = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json")
    schema = json.loads(vendored.read_text())

    jsonschema.Draft202012Validator(schema).validate(compose())


if has_compose():  # elsewhere the schema has to do; no package index carries the program

    def test_docker_compose_takes_the_file(tmp_path: Path):
        filled = re.sub(r"^#?(\w+_PASSWORD)=$", r"\1=secret", EXAMPLE, flags=re.MULTILINE)
        (tmp_path / ".env").write_text(filled)
        command = ["docker", "compose", "--env-file", str(tmp_path / ".env"), "config", "--quiet"]

        ended = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, check=False)

        assert ended.returncode == 0, ended.stderr


# settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", services(ours=True))
def test_every_variable_of_our_image_is_a_setting(name: str):
    assert set(services()[name]["environment"]) <= setting_variables()


def test_everything_that_is_interpolated_is_in_the_example_or_has_a_default():
    named = {name for name, _ in ASSIGNED}

    missing = {
        name for name, rest in interpolated(compose()) if name not in named and not rest.startswith(":-")
    }

    assert missing == set()


def test_everything_in_the_example_is_used():
    passed_on = {name for body in services().values() for name in body.get("environment", {})}
    secrets = {secret["environment"] for secret in compose()["secrets"].values()}
    used = {name for name, _ in interpolated(compose())} | passed_on | secrets | {"COMPOSE_PROFILES"}
    # Only an assignment's own line is one; `${NAME}` in its value names another.
    assert {name for name, _ in ASSIGNED} - used == set()


def test_example_names_existing_profiles():
    existing = {profile for body in services().values() for profile in body.get("profiles", [])}

    assert {value for name, value in ASSIGNED if name == "COMPOSE_PROFILES"} == existing


def test_example_holds_no_secret():
    secret = re.compile(r"PASSWORD|SECRET|_KEY|SEALING")
    named = {"AWS_ACCESS_KEY_ID"}

    assert {value for name, value in ASSIGNED if secret.search(name) and name not in named} == {""}


# services ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", services(ours=True))
def test_command_line_accepts_what_is_run(name: str):
    parsed(services()[name]["command"])


def test_each_queue_has_one_service_and_no_other_is_served():
    served = [parsed(body["command"])[1]["queues"] for body in WORKERS.values()]

    assert sorted(served) == kind_queues()


@pytest.mark.parametrize("name", WORKERS)
def test_worker_is_looked_after_and_has_time_to_drain(name: str):
    worker = WORKERS[name]
    grace = Settings.model_fields["drain_grace_seconds"].default

    # The image's own health check asks this port.
    assert parsed(worker["command"])[1]["metrics_port"] == 9464
    assert "healthcheck" not in worker
    assert seconds(worker["stop_grace_period"]) >= grace + TEARDOWN_SECONDS
    assert worker["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_api_is_served_on_its_port_and_looked_after():
    api = services()["api"]
    name, options = parsed(api["command"])
    [port] = api["ports"]

    assert (name, options["with_worker"]) == ("holdfast serve", False)
    assert port == f"127.0.0.1:{options['port']}:{options['port']}"
    assert f":{options['port']}/health/live'" in api["healthcheck"]["test"][-1]
    assert seconds(api["stop_grace_period"]) > GRACE_SECONDS


def test_api_asks_for_keys_and_has_a_secret_that_lasts():
    api = services()["api"]
    host = parsed(api["command"])[1]["host"]

    assert not Settings(host=host).open_access
    assert api["environment"]["HOLDFAST_SECRET"].startswith("${HOLDFAST_SECRET:?")
    # All that the workers know, it knows, too.
    assert set(services()["worker-life-clarity"]["environment"]) < set(api["environment"])


@pytest.mark.parametrize("name", services())
def test_files_that_are_mounted_exist(name: str):
    mounted = [volume.partition(":")[0] for volume in services()[name].get("volumes", [])]

    assert [path for path in mounted if path.startswith("./") and not (DEPLOY / path).exists()] == []


def test_migration_runs_once():
    migrate = services()["migrate"]

    assert parsed(migrate["command"])[0] == "holdfast migrate"
    assert migrate["restart"] == "no"


def test_what_others_wait_for_says_when_it_is_healthy():
    waited_for = {
        name
        for body in services().values()
        for name, how in body.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    }

    assert waited_for
    assert [name for name in waited_for if "test" not in services()[name]["healthcheck"]] == []


@pytest.mark.parametrize("name", services())
def test_service_is_bounded(name: str):
    service = services()[name]

    assert service["mem_limit"]
    assert service["logging"] == {"driver": "local"}
    # Nothing is reachable from other machines.
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []


def test_broker_keeps_what_it_is_given():
    command = services()["redis"]["command"]

    options = dict(zip(command[1::2], command[2::2], strict=True))

    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"


def test_database_has_room_for_the_connections_of_a_fleet():
    command = services()["postgres"]["command"]
    (limit,) = [word.partition("=")[2] for word in command if word.startswith("max_connections=")]
    held_by_each = 5  # see PostgresStore

    assert int(limit) >= held_by_each * 10 * (len(WORKERS) + 1)


def test_links_of_the_page_resolve():
    assert broken_links(DEPLOY / "README.md") == []


# the checks themselves -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["serv"], ["worker", "--slots", "3"], ["worker", "--concurrency", "none"]]
)
def test_command_line_that_does_not_exist_is_found(arguments: list[str]):
    with pytest.raises(Exception, match=r"No such|valid integer"):
        parsed(arguments)


def test_misspelt_key_is_found():
    vendored = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json")
    broken: dict[str, Any] = {"services": {"a": {"image": "a", "mem_limits": "1g"}}}

    with pytest.raises(jsonschema.ValidationError, match="mem_limits"):
        jsonschema.Draft202012Validator(json.loads(vendored.read_text())).validate(broken)


def test_plain_dollars_are_not_interpolated():
    assert list(interpolated({"a": ["$${A:?x}", "${B:-b}/${C}"]})) == [("B", ":-b"), ("C", "")]
