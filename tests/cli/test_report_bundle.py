"""`holdfast report bundle`: three files in a folder, and a word on each part."""

import json
from pathlib import Path

import pytest

from holdfast.cli.report_family import Family
from holdfast.cli.report_state import ReportState
from holdfast.codec import to_json
from holdfast.model import Event
from holdfast.testing.clock import START, ManualClock
from tests.cli import sample_reports
from tests.cli.conftest import Command

pytestmark = pytest.mark.timeout(60)

BUNDLE = (
    *("--app", "tests.cli.sample_reports:app"),
    *("report", "bundle", "--name", "Ada Example", "--born", "1990-05-20 14:30"),
    *("--place", "Lisbon", "--out", "made"),
)
FILES = {"life-clarity.pdf", "personal-blueprint.pdf", "the-year-ahead.pdf"}


@pytest.fixture(autouse=True)
def settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_reports.app, "_settings", None)


def made(folder: Path) -> set[str]:
    return {path.name for path in (folder / "made").iterdir()}


def test_bundle_is_three_files_and_one_summary(holdfast: Command, tmp_path: Path):
    ended = holdfast(*BUNDLE, "--json")
    words = holdfast(*BUNDLE)

    summary = json.loads(ended.out)
    assert (ended.status, words.status) == (0, 0), ended.err
    assert made(tmp_path) == FILES
    assert summary["file"] == str(tmp_path / "made")
    assert [part["product"] for part in summary["result"]["parts"]] == [
        "life_clarity",
        "personal_blueprint",
        "personal_horoscope",
    ]
    assert {part["file"] for part in summary["parts"]} == {
        str(tmp_path / "made" / name) for name in FILES
    }
    assert summary["job"]["usage"]["calls"] == sample_reports.CALLS + 1
    assert "made/the-year-ahead.pdf" in words.out
    assert "without any model call" in words.out


def test_failed_part_is_told_and_what_is_ready_is_written(holdfast: Command, tmp_path: Path):
    words = holdfast(*BUNDLE, "--name", "Nobody")
    again = holdfast(*BUNDLE, "--name", "Nobody", "--json")

    summary = json.loads(again.out)
    failed = summary["parts"][0]
    assert (words.status, again.status) == (3, 3)
    assert made(tmp_path) == FILES - {"life-clarity.pdf"}
    assert "failed, fatal: nobody has no fate" in words.out
    assert failed["job_id"] in words.out
    assert "made/the-year-ahead.pdf" in words.out
    assert "1 of 3 reports could not be made: 'life_clarity'" in words.err
    assert f"holdfast jobs retry {summary['job']['job_id']}" in words.err
    assert (summary["file"], summary["result"]) == (None, None)
    assert summary["job"]["error"]["code"] == "bundle_incomplete"
    assert [part["status"] for part in summary["parts"]] == ["failed", "completed", "completed"]
    assert (failed["product"], failed["file"], failed["result"]) == ("life_clarity", None, None)
    assert failed["error"]["code"] == "fatal"


def test_retried_bundle_is_completed_without_another_call_for_what_was_ready(
    holdfast: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sample_reports, "FATELESS", {"Nobody"})
    holdfast(*BUNDLE, "--name", "Nobody")
    monkeypatch.setattr(sample_reports, "FATELESS", set[str]())

    retried = holdfast(*BUNDLE, "--name", "Nobody", "--retry", "--json")

    summary = json.loads(retried.out)
    assert retried.status == 0, retried.err
    assert made(tmp_path) == FILES
    assert summary["job"]["usage"]["calls"] == sample_reports.CALLS + 1
    assert {part["error"] for part in summary["parts"]} == {None}


def test_days_are_for_bundles_too(holdfast: Command):
    assert holdfast(*BUNDLE, "--days", "3").status == 0


def test_folder_that_cannot_be_used_is_told_before_a_job_exists(holdfast: Command, tmp_path: Path):
    (tmp_path / "made").write_text("in the way")

    ended = holdfast(*BUNDLE)

    assert ended.status == 2
    assert json.loads(holdfast("jobs", "list", "--json").out) == []


def progress(done: float, eta: float) -> Event:
    fields = {"done": done, "total": 1_000, "fraction": 0.9, "label": "Writing", "eta_seconds": eta}
    return Event(job_id="child", seq=1, type="progress", data=to_json(fields), at=START)


def test_whole_is_as_far_as_the_words_of_its_parts_and_as_late_as_the_latest():
    state = ReportState(clock=ManualClock(), calls_total=217)
    family = Family(None, state, lambda: None, words=1_000)  # type: ignore[arg-type]

    family._take("one", progress(200, eta=30))
    family._take("two", progress(300, eta=90))

    assert (state.fraction, state.eta_seconds) == (0.5, 90)
