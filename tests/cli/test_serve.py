"""`holdfast serve` and `holdfast keys`."""

import json
import re
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import SAMPLE, Command, Running, Start


async def url_of(serving: Running) -> str:
    line = await serving.line("serving")
    found = re.search(r"url=(\S+)", line)
    assert found, line
    return found[1]


@pytest.mark.timeout(60)
async def test_one_command_is_a_whole_installation(start: Start):
    """It serves, runs jobs beside it, and leaves in order at SIGTERM."""
    job_id = (await (await start(*SAMPLE, "jobs", "submit", "sums", "{}")).end()).out.strip()
    serving = await start(*SAMPLE, "serve", "--port", "0")
    url = await url_of(serving)
    await serving.line("attempt settled .*status=completed")

    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{url}/api/v1/jobs/{job_id}")
    serving.process.terminate()
    ended = await serving.end()

    assert answer.json()["status"] == "completed"
    assert (ended.status, ended.out) == (0, "")
    assert "access=everybody on this machine" in ended.err
    assert "worker stopped" in ended.err


@pytest.mark.timeout(60)
async def test_keys_are_asked_for_on_other_addresses(start: Start):
    serving = await start(*SAMPLE, "serve", "--host", "0.0.0.0", "--port", "0", "--no-worker")
    port = (await url_of(serving)).rpartition(":")[2]
    key = (await (await start(*SAMPLE, "keys", "new", "test")).end()).out.strip()
    path = f"http://127.0.0.1:{port}/api/v1/jobs/job_x"

    async with httpx2.AsyncClient(trust_env=False) as http:
        without = await http.get(path)
        with_key = await http.get(path, headers={"Authorization": f"Bearer {key}"})
    serving.process.terminate()
    ended = await serving.end()

    assert (without.status_code, with_key.status_code) == (401, 404)
    assert "access=with a key" in ended.err
    assert "worker started" not in ended.err


@pytest.mark.timeout(60)
async def test_port_in_use_is_told_in_one_paragraph(start: Start):
    first = await start(*SAMPLE, "serve", "--port", "0")
    port = (await url_of(first)).rpartition(":")[2]

    ended = await (await start(*SAMPLE, "serve", "--port", port)).end()
    first.process.terminate()
    await first.end()

    assert ended.status == 78
    assert f"127.0.0.1:{port} cannot be listened on" in ended.err
    assert "Traceback" not in ended.err


def test_key_is_shown_once_and_listed_without_its_secret(holdfast: Command, tmp_path: Path):
    made = holdfast("keys", "new", "web shop", "--tenant", "acme", "--allow", "read", "--days", "30")
    key = made.out.strip()

    listed = holdfast("keys", "list", "--json")

    assert re.fullmatch(r"hf_[0-9A-Z]{10}_[0-9A-Z]{32}", key)
    [found] = json.loads(listed.out)
    assert (found["name"], found["tenant"], found["actions"]) == ("web shop", "acme", ["read"])
    assert key.rpartition("_")[2] not in listed.out + holdfast("keys", "list").out
    assert key.encode() not in (tmp_path / ".holdfast" / "holdfast.db").read_bytes()


def test_revoked_key_leaves_the_list(holdfast: Command):
    key_id = holdfast("keys", "new", "shop").out.strip().rpartition("_")[0]

    assert holdfast("keys", "revoke", key_id).status == 0
    again = holdfast("keys", "revoke", key_id)

    assert (again.status, f"no key '{key_id}' in force" in again.err) == (2, True)
    assert "No keys." in holdfast("keys", "list").out


def test_unknown_action_is_refused_with_those_there_are(holdfast: Command):
    ended = holdfast("keys", "new", "shop", "--allow", "fly")

    assert ended.status == 2
    assert "admin, content, control, read, submit, webhooks" in " ".join(ended.err.split())
