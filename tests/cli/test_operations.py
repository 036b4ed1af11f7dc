"""`holdfast worker`, `doctor` and `migrate`."""

import json
import signal
from pathlib import Path

import pytest

from holdfast.testing.servers.s3 import S3
from tests.cli.conftest import SAMPLE, Command, Start


@pytest.mark.timeout(60)
async def test_worker_drains_on_sigterm_and_exits_with_zero(start: Start, tmp_path: Path):
    await (await start(*SAMPLE, "jobs", "submit", "sums", "{}")).end()
    worker = await start(*SAMPLE, "worker")
    await worker.line("attempt settled .*status=completed")

    worker.process.terminate()
    ended = await worker.end()

    assert ended.status == 0
    assert "draining" in ended.err
    assert "worker stopped" in ended.err
    assert ended.out == ""


@pytest.mark.timeout(60)
async def test_second_signal_stops_the_worker_at_once(start: Start):
    await (await start(*SAMPLE, "jobs", "submit", "hangs")).end()
    worker = await start(*SAMPLE, "--debug", "worker", "--queues", "hangs", "--concurrency", "1")
    watch = await start(*SAMPLE, "jobs", "watch", (await listed(start))[0], "--json")
    assert watch.process.stdout is not None
    while b"step.started" not in await watch.process.stdout.readline():
        continue

    worker.process.terminate()
    await worker.line("draining")
    worker.process.send_signal(signal.SIGINT)

    assert (await worker.end()).status == 130


async def listed(start: Start) -> list[str]:
    ended = await (await start(*SAMPLE, "jobs", "list", "--json")).end()
    return [job["job_id"] for job in json.loads(ended.out)]


def test_worker_refuses_queues_without_names(sample: Command):
    ended = sample("worker", "--queues", " , ")

    assert ended.status == 2


def findings(holdfast: Command, *options: str) -> dict[str, dict[str, str]]:
    ended = holdfast("doctor", "--offline", "--json", *options)
    return {found["name"]: found for found in json.loads(ended.out)["checks"]}


def test_doctor_is_content_with_a_fresh_installation(holdfast: Command):
    ended = holdfast("doctor", "--offline")

    assert ended.status == 0, ended.out
    assert "ephemeris" in ended.out


def test_doctor_never_prints_a_secret(holdfast: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://user:hidden@models.example/v1")

    ended = holdfast("doctor", "--offline")

    assert "models.example" in ended.out
    assert "sk-secret" not in ended.out
    assert "hidden" not in ended.out


def test_doctor_says_what_to_do_about_a_problem(holdfast: Command, tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")

    ended = holdfast("--home", "file", "doctor", "--offline")

    assert ended.status == 1
    assert "HOLDFAST_HOME" in ended.out


def test_doctor_writes_and_deletes_an_object_where_artifacts_are_in_a_bucket(
    holdfast: Command, monkeypatch: pytest.MonkeyPatch, s3_server: S3
):
    monkeypatch.setenv("HOLDFAST_ARTIFACTS", f"s3://{s3_server.bucket}/doctor")
    monkeypatch.setenv("HOLDFAST_S3_ENDPOINT", s3_server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)

    assert findings(holdfast)["artifacts"]["verdict"] == "ok"

    monkeypatch.setenv("HOLDFAST_ARTIFACTS", "s3://no-such-bucket")
    told = findings(holdfast)["artifacts"]
    assert told["verdict"] == "problem"
    assert "NoSuchBucket" in told["told"]
    assert "check the bucket's name" in told["to_do"]


def test_doctor_reports_an_endpoint_that_cannot_be_reached(
    holdfast: Command, monkeypatch: pytest.MonkeyPatch
):
    # The port of discarded packets: nobody listens there.
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("HOLDFAST_MODEL", "nobody-knows-it")

    ended = holdfast("doctor", "--json")

    found = {each["name"]: each for each in json.loads(ended.out)["checks"]}
    assert ended.status == 1
    assert found["endpoint"]["verdict"] == "problem"
    assert found["price"]["verdict"] == "warning"


def test_doctor_knows_the_price_of_a_listed_model(holdfast: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")

    assert findings(holdfast)["price"]["verdict"] == "ok"


def test_doctor_sees_jobs_that_nobody_works_on(sample: Command):
    sample("jobs", "submit", "sums", "{}")

    ended = sample("doctor", "--offline")

    assert ended.status == 0
    assert "holdfast worker" in ended.out


def test_migrate_says_from_and_to(holdfast: Command):
    first = json.loads(holdfast("migrate", "--json").out)
    second = json.loads(holdfast("migrate", "--json").out)

    assert first["from"] is None
    assert second["from"] == second["to"] == first["to"]


def test_migrate_leaves_a_foreign_file_alone(holdfast: Command, tmp_path: Path):
    (tmp_path / "other.db").write_text("no database, just words that somebody needs " * 50)

    ended = holdfast("--store", "sqlite:///other.db", "migrate")

    assert ended.status == 69
    assert (tmp_path / "other.db").read_text().startswith("no database")
