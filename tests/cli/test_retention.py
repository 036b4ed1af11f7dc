"""`holdfast prune` and `holdfast subject`."""

import json
import os
import signal
import stat
import zipfile
from pathlib import Path

import pytest

from holdfast.artifacts.base import SETTLED_AFTER
from holdfast.clock import SystemClock
from tests.cli.conftest import SAMPLE, Command, Start

MARKER = "Ada-Lovelace-1815"


def submit(sample: Command, *options: str, kind: str = "sums", value: str = "{}") -> str:
    ended = sample("jobs", "submit", kind, value, *options)
    assert ended.status == 0, ended.err
    return ended.out.strip()


def cancelled(sample: Command, *options: str) -> str:
    job_id = submit(sample, *options)
    assert sample("jobs", "cancel", job_id).status == 0
    return job_id


def listed(sample: Command) -> list[str]:
    return [job["job_id"] for job in json.loads(sample("jobs", "list", "--json").out)]


def make_files_old(folder: Path) -> None:
    stamp = SystemClock().now().timestamp() - 2 * SETTLED_AFTER.total_seconds()
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (stamp, stamp))


def files_with(folder: Path, text: str) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


# prune -------------------------------------------------------------------------------------------


def test_prune_deletes_finished_jobs_of_an_age(sample: Command):
    waiting = submit(sample)
    cancelled(sample)

    young = sample("prune", "--older-than", "1d")
    old = sample("prune", "--older-than", "0s", "--json")

    assert (young.status, young.out) == (0, "0 jobs and 0 files deleted\n")
    assert json.loads(old.out)["jobs"] == 1
    assert listed(sample) == [waiting]


def test_prune_deletes_jobs_of_a_kind(sample: Command):
    job_id = cancelled(sample)

    assert json.loads(sample("prune", "--kind", "waits", "--json").out)["jobs"] == 0
    assert listed(sample) == [job_id]
    assert json.loads(sample("prune", "--kind", "sums", "--json").out)["jobs"] == 1
    assert listed(sample) == []


def test_prune_goes_on_until_nothing_is_left(sample: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("holdfast.store.pruning.ROWS_MAX", 1)
    for _ in range(3):
        cancelled(sample)

    assert json.loads(sample("prune", "--kind", "sums", "--json").out)["jobs"] == 3
    assert listed(sample) == []


def test_dry_run_tells_and_deletes_nothing(sample: Command):
    job_id = cancelled(sample)

    ended = sample("prune", "--kind", "sums", "--files", "--dry-run")

    assert (ended.status, ended.out) == (0, "1 job and 0 files would be deleted\n")
    assert listed(sample) == [job_id]


def test_prune_deletes_files_that_no_job_refers_to(sample: Command, tmp_path: Path):
    submit(sample)
    stray = tmp_path / ".holdfast" / "artifacts" / "ab" / ("ab" * 32)
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"left behind")

    assert sample("prune", "--files").out == "0 jobs and 0 files deleted\n"
    make_files_old(stray.parent)
    assert sample("prune", "--files", "--dry-run").out == "0 jobs and 1 file would be deleted\n"
    assert sample("prune", "--files").out == "0 jobs and 1 file deleted\n"
    assert not stray.exists()


@pytest.mark.parametrize(
    "arguments", [(), ("--older-than", "soon"), ("--older-than", "30"), ("--older-than", "-1d")]
)
def test_prune_without_bounds_is_refused(sample: Command, arguments: tuple[str, ...]):
    job_id = cancelled(sample)

    assert sample("prune", *arguments).status == 2
    assert listed(sample) == [job_id]


# subject -----------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
async def test_erased_person_is_nowhere_in_the_home_folder(start: Start, tmp_path: Path):
    """Every byte of the database, its log and the artifacts is searched."""

    async def holdfast(*arguments: str, status: int = 0) -> str:
        ended = await (await start(*SAMPLE, *arguments)).end()
        assert ended.status == status, ended.err
        return ended.out

    mine = json.dumps({"secret": MARKER})
    job_id = (await holdfast("jobs", "submit", "letter", mine, "--subject", "u_1815")).strip()
    other = (await holdfast("jobs", "submit", "letter", "{}", "--subject", "u_2")).strip()
    worker = await start(*SAMPLE, "worker")
    for _ in range(2):
        await worker.line("attempt settled .*status=completed")
    home = tmp_path / ".holdfast"
    make_files_old(home / "artifacts")
    assert len(files_with(home / "artifacts", MARKER)) == 2
    await holdfast("subject", "export", "u_1815", "--out", "export.zip", "--files")

    # The worker goes on meanwhile.
    erased = json.loads(await holdfast("subject", "erase", "u_1815", "--yes", "--json"))

    assert (erased["jobs"], erased["files"], erased["files_left"]) == ([job_id], 2, [])
    assert files_with(home, MARKER) == []
    assert files_with(home, "u_1815") == []
    assert "Dear nobody" in await holdfast("jobs", "output", other)
    worker.process.terminate()
    assert (await worker.end()).status == 0
    assert files_with(home, MARKER) == []
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        content = {name: archive.read(name).decode() for name in archive.namelist()}
    exported = json.loads(content[f"jobs/{job_id}.json"])
    assert set(content) == {f"jobs/{job_id}.json", f"files/{job_id}/letters/ada.txt"}
    assert exported["input"]["secret"] == MARKER
    assert MARKER in exported["output"]
    assert [event["type"] for event in exported["events"]][-1] == "job.completed"
    assert [step["key"] for step in exported["steps"]] == ["long"]
    assert MARKER in content[f"files/{job_id}/letters/ada.txt"]


def test_export_has_the_state_of_unfinished_jobs_and_is_for_its_owner_only(
    sample: Command, tmp_path: Path
):
    job_id = submit(sample, "--subject", "u_1", value='{"items": 7}')
    submit(sample, "--subject", "u_2")

    ended = sample("subject", "export", "u_1", "--out", "export.zip")

    assert ended.status == 0, ended.err
    assert "1 job" in ended.err
    assert stat.S_IMODE((tmp_path / "export.zip").stat().st_mode) == 0o600
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        [name] = archive.namelist()
        exported = json.loads(archive.read(name))
    assert name == f"jobs/{job_id}.json"
    assert (exported["status"], exported["subject"], exported["input"]["items"]) == ("queued", "u_1", 7)
    assert [event["type"] for event in exported["events"]] == ["job.queued"]


def test_export_of_a_subject_without_jobs_is_empty(sample: Command, tmp_path: Path):
    ended = sample("subject", "export", "u_1", "--out", "export.zip")

    assert ended.status == 0
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert archive.namelist() == []


def test_export_that_cannot_be_written_leaves_nothing(sample: Command, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")

    ended = sample("subject", "export", "u_1", "--out", "file/export.zip")

    assert ended.status == 2
    assert (tmp_path / "file").read_text() == "in the way"


def test_names_of_files_cannot_leave_the_archive():
    from holdfast.cli.export import name_in_archive

    assert name_in_archive("../../etc/passwd", "ab") == "etc/passwd"
    assert name_in_archive("/etc/passwd", "ab") == "etc/passwd"
    assert name_in_archive("..", "ab") == "ab"
    assert name_in_archive("a\\..\\b", "ab") == "a_.._b"


def test_erase_asks_first(sample: Command, monkeypatch: pytest.MonkeyPatch):
    import io

    job_id = submit(sample, "--subject", "u_1")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))

    ended = sample("subject", "erase", "u_1")

    assert ended.status == 1
    assert "Erase 1 job (1 unfinished)" in ended.err
    assert listed(sample) == [job_id]


def test_erase_cancels_what_has_not_begun(sample: Command):
    submit(sample, "--subject", "u_1")
    other = submit(sample)

    ended = sample("subject", "erase", "u_1", "--yes")

    assert ended.status == 0, ended.err
    assert "1 job and 0 files erased" in ended.err
    assert listed(sample) == [other]
    assert sample("subject", "erase", "u_1").status == 0


@pytest.mark.timeout(60)
async def test_erase_tells_what_it_could_not_erase(start: Start):
    await (await start(*SAMPLE, "jobs", "submit", "hangs", "--subject", "u_1")).end()
    worker = await start(*SAMPLE, "--debug", "worker")
    await worker.line("worker started")
    watch = await start(*SAMPLE, "jobs", "list", "--json")
    job_id = json.loads((await watch.end()).out)[0]["job_id"]
    events = await start(*SAMPLE, "jobs", "watch", job_id, "--json")
    assert events.process.stdout is not None
    while b"step.started" not in await events.process.stdout.readline():
        continue
    # Frozen, so that it cannot hear of the cancelling; its lease outlives the test's patience.
    worker.process.send_signal(signal.SIGSTOP)

    ended = await (await start(*SAMPLE, "subject", "erase", "u_1", "--yes", "--wait", "0")).end()

    worker.process.send_signal(signal.SIGCONT)
    assert ended.status == 6
    assert f"{job_id} is left: it is running still" in ended.err


@pytest.mark.timeout(60)
async def test_worker_deletes_what_the_settings_do_not_keep(start: Start):
    job_id = (await (await start(*SAMPLE, "jobs", "submit", "sums", "{}")).end()).out.strip()
    await (await start(*SAMPLE, "jobs", "cancel", job_id)).end()

    worker = await start(*SAMPLE, "worker", HOLDFAST_KEEP_DAYS="0.000001")

    assert "jobs=1" in await worker.line("jobs pruned")
    listed = await (await start(*SAMPLE, "jobs", "list", "--json")).end()
    assert json.loads(listed.out) == []
