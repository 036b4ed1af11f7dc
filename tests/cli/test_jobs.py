"""Looking at jobs and steering them."""

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.wiring import run_async
from tests.cli import sample_app
from tests.cli.conftest import Command


def submitted(sample: Command, *arguments: str) -> str:
    ended = sample("jobs", "submit", *arguments)
    assert ended.status == 0, ended.err
    return ended.out.strip()


def worked_off(*job_ids: str) -> None:
    """Run a worker until these jobs are terminal."""

    async def work() -> None:
        async with sample_app.app.worker() as client:
            for job_id in job_ids:
                await client.wait(job_id)

    run_async(work())


def shown(sample: Command, job_id: str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sample("jobs", "show", job_id, "--json", *options).out)
    return found


def test_submit_prints_the_id_alone_on_stdout(sample: Command):
    ended = sample("jobs", "submit", "sums", '{"items": 2}')

    assert ended.out.startswith("job_")
    assert len(ended.out) == 31
    assert ended.err == "queued\n"


def test_submit_reads_input_from_a_file(sample: Command, tmp_path: Path):
    (tmp_path / "work.json").write_text('{"items": 7}')

    job_id = submitted(sample, "sums", "@work.json")

    assert shown(sample, job_id)["input"]["items"] == 7


def test_submit_refuses_what_is_not_json(sample: Command):
    ended = sample("jobs", "submit", "sums", "{items: 2}")

    assert ended.status == 2
    assert "not JSON" in ended.err


def test_submit_names_the_known_kinds_for_an_unknown_one(sample: Command):
    ended = sample("jobs", "submit", "summs")

    assert ended.status == 2
    assert "'sums'" in ended.err


def test_submit_with_a_key_gives_the_same_job_and_refuses_another_input(sample: Command):
    first = submitted(sample, "sums", '{"items": 1}', "--idempotency-key", "k")
    second = submitted(sample, "sums", '{"items": 1}', "--idempotency-key", "k")
    other = sample("jobs", "submit", "sums", '{"items": 2}', "--idempotency-key", "k")

    assert first == second
    assert other.status == 6


def test_list_shows_newest_first_and_filters(sample: Command):
    first = submitted(sample, "sums", "{}")
    second = submitted(sample, "waits")

    everything = json.loads(sample("jobs", "list", "--json").out)
    filtered = json.loads(sample("jobs", "list", "--json", "--kind", "sums", "--status", "queued").out)

    assert [job["job_id"] for job in everything] == [second, first]
    assert [job["job_id"] for job in filtered] == [first]


@pytest.mark.parametrize("columns", [80, 120])
def test_list_fits_the_terminal(sample: Command, monkeypatch: pytest.MonkeyPatch, columns: int):
    monkeypatch.setenv("COLUMNS", str(columns))
    job_id = submitted(sample, "sums", "{}")

    ended = sample("jobs", "list")

    assert job_id in ended.out
    assert max(len(line.rstrip()) for line in ended.out.splitlines()) <= columns


def test_list_says_where_it_looked_when_it_found_nothing(sample: Command):
    ended = sample("jobs", "list")

    assert (ended.status, ended.out) == (0, "")
    assert ".holdfast/holdfast.db" in ended.err


def test_show_has_steps_attempts_and_files(sample: Command):
    job_id = submitted(sample, "sums", '{"items": 3}')
    worked_off(job_id)

    page = sample("jobs", "show", job_id, "--steps").out
    record = shown(sample, job_id)

    assert "completed" in page
    assert "double/2" in page
    assert "sums.txt" in page
    assert [step["key"] for step in record["steps"]] == ["double/0", "double/1", "double/2"]
    assert [event["type"] for event in record["attempts"]] == ["attempt.started", "job.completed"]
    assert record["artifacts"][0]["size_bytes"] == 2


def test_job_is_found_by_its_first_or_last_characters(sample: Command):
    job_id = submitted(sample, "sums", "{}")
    submitted(sample, "sums", "{}")

    assert shown(sample, job_id[-6:].lower())["job_id"] == job_id
    assert shown(sample, job_id[:29])["job_id"] == job_id


def test_abbreviation_that_fits_two_jobs_is_refused(sample: Command):
    job_id = submitted(sample, "sums", "{}")
    submitted(sample, "sums", "{}")

    ended = sample("jobs", "show", job_id[:9])

    assert ended.status == 2
    assert "fits 2 jobs" in ended.err


@pytest.mark.parametrize("given", ["job_00000000000000000000000000", "0000000"])
def test_missing_job_has_an_exit_status_of_its_own(sample: Command, given: str):
    ended = sample("jobs", "show", given)

    assert ended.status == 5
    assert "does not exist" in ended.err


def test_output_and_artifact_are_given_back(sample: Command, tmp_path: Path):
    job_id = submitted(sample, "sums", '{"items": 4}')
    worked_off(job_id)

    output = sample("jobs", "output", job_id)
    saved = sample("jobs", "artifact", job_id, "sums.txt", "--out", "made/here.txt")
    missing = sample("jobs", "artifact", job_id, "other.txt")

    assert json.loads(output.out) == 12
    assert saved.status == 0
    assert (tmp_path / "made/here.txt").read_text() == "12\n"
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["here.txt"]
    assert missing.status == 2
    assert "'sums.txt'" in missing.err


def test_output_of_a_failed_job_says_why(sample: Command):
    job_id = submitted(sample, "sums", '{"fail_at": 1}')
    worked_off(job_id)

    ended = sample("jobs", "output", job_id)

    assert ended.status == 3
    assert "number 1 is cursed" in ended.err


def test_output_of_a_job_that_has_not_ended_is_a_conflict(sample: Command):
    ended = sample("jobs", "output", submitted(sample, "sums", "{}"))

    assert ended.status == 6


def test_cancel_and_retry(sample: Command):
    job_id = submitted(sample, "sums", '{"items": 1}')

    cancelled = sample("jobs", "cancel", job_id)
    retried = sample("jobs", "retry", job_id)
    again = sample("jobs", "retry", job_id)

    assert (cancelled.status, cancelled.err) == (0, "cancelled\n")
    assert (retried.status, retried.err) == (0, "queued\n")
    assert again.status == 6


def test_fork_keeps_the_named_steps_and_takes_another_input(sample: Command):
    job_id = submitted(sample, "sums", '{"items": 3}')
    worked_off(job_id)

    fork = sample("jobs", "fork", job_id, "--keep", "double/1", "--input", '{"items": 2}').out.strip()

    assert [step["key"] for step in shown(sample, fork)["steps"]] == ["double/1"]
    assert shown(sample, fork)["input"]["items"] == 2


def test_signal_reaches_the_job(sample: Command):
    job_id = submitted(sample, "waits")

    sample("jobs", "signal", job_id, "go", '"now"')
    worked_off(job_id)

    assert json.loads(sample("jobs", "output", job_id).out) == "now"


def test_budget_changes_only_what_is_named(sample: Command):
    job_id = submitted(sample, "sums", "{}")

    sample("jobs", "budget", job_id, "--usd", "2.50")
    sample("jobs", "budget", job_id, "--tokens", "5000")
    both = shown(sample, job_id)["budget"]
    sample("jobs", "budget", job_id, "--usd", "none")

    assert both == {"usd": "2.5", "tokens": 5000}
    assert shown(sample, job_id)["budget"] == {"usd": None, "tokens": 5000}


@pytest.mark.parametrize("arguments", [[], ["--usd", "much"], ["--tokens", "-4"]])
def test_budget_refuses_what_is_no_limit(sample: Command, arguments: list[str]):
    ended = sample("jobs", "budget", submitted(sample, "sums", "{}"), *arguments)

    assert ended.status == 2


def test_watch_ends_with_the_job_and_its_status(sample: Command):
    job_id = submitted(sample, "sums", '{"fail_at": 1}')
    worked_off(job_id)

    ended = sample("jobs", "watch", job_id)
    lines = [json.loads(line) for line in sample("jobs", "watch", job_id, "--json").out.splitlines()]

    assert ended.status == 3
    assert "double/0" in ended.out
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["type"] == "job.failed"


def test_text_from_outside_cannot_command_the_terminal(sample: Command):
    job_id = submitted(sample, "sums", "{}", "--tenant", "\x1b[2Jevil")

    ended = sample("jobs", "show", job_id)

    assert "\x1b" not in ended.out
    assert "evil" in ended.out


def test_show_and_list_tell_of_parent_and_children(sample: Command):
    job_id = submitted(sample, "family", "2")
    worked_off(job_id)

    found = shown(sample, job_id)
    assert found["progress"]["fraction"] == 1
    assert [child["status"] for child in found["children"]] == ["completed", "completed"]
    listed = json.loads(sample("jobs", "list", "--parent", job_id, "--json").out)
    assert {each["job_id"] for each in listed} == {each["job_id"] for each in found["children"]}
    assert {each["parent_id"] for each in listed} == {job_id}
    page = sample("jobs", "show", job_id).out
    assert all(each["job_id"] in page for each in found["children"])
    assert f"parent     {job_id}" in sample("jobs", "show", listed[0]["job_id"]).out
