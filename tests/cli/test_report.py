"""`holdfast report` as people use it: real processes, a simulated provider, signals."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.llm.providers.base import ProviderRequest
from holdfast.testing.provider.server import ProviderSimulator
from tests.cli import sample_reports
from tests.cli.conftest import Command, Start

# Each starts a process or two, which takes its time on a busy machine.
pytestmark = pytest.mark.timeout(60)

CLARITY = (
    *("--app", "tests.cli.sample_reports:app"),
    *("report", "life_clarity", "--name", "Ada Example", "--born", "1990-05-20 14:30"),
    *("--place", "Lisbon", "--out", "made/clarity.pdf", "--concurrency", "1"),
)
HOROSCOPE = (
    *("report", "personal_horoscope", "--name", "Ada Example", "--born", "1990-05-20"),
    *("--place", "Lisbon", "--days", "3", "--answers", "2", "--out", "h.pdf"),
)
CALLS = sample_reports.CALLS


class GatedProvider:
    """A simulated provider whose answers beyond the first few wait until they are let through."""

    def __init__(self, free: int) -> None:
        self._permits = asyncio.Semaphore(free)
        self.simulator = ProviderSimulator(writer=self._write)

    async def _write(self, request: ProviderRequest) -> str:
        await self._permits.acquire()
        return f"Some text for {request.messages[-1]['content']}"

    def let_through(self, count: int) -> None:
        for _ in range(count):
            self._permits.release()

    async def arrived(self, count: int) -> None:
        """Return once so many calls have arrived since the last time."""
        for _ in range(count):
            await self.simulator.arrivals.acquire()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "OPENAI_BASE_URL": self.simulator.base_url,
            "OPENAI_API_KEY": "sk-secret",
            "HOLDFAST_MODEL": "sim",
        }

    @property
    def requests(self) -> list[str]:
        return [record.body_hash for record in self.simulator.journal.records]


@pytest.fixture
async def provider() -> AsyncIterator[GatedProvider]:
    gated = GatedProvider(free=1)
    async with gated.simulator:
        yield gated


@pytest.fixture(autouse=True)
def settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module of the sample application is imported once; its settings are not to stay."""
    monkeypatch.setattr(sample_reports.app, "_settings", None)


async def test_report_is_written_and_summed_up_as_json(start: Start, tmp_path: Path):
    ended = await (await start(*HOROSCOPE, "--json")).end()

    summary = json.loads(ended.out)
    assert (ended.status, summary["file"]) == (0, str(tmp_path / "h.pdf"))
    assert (tmp_path / "h.pdf").read_bytes().startswith(b"%PDF-")
    assert summary["job"]["usage"]["calls"] == summary["result"]["batches"] == CALLS
    assert summary["already_completed"] is False


async def test_interrupted_report_hands_back_and_the_same_command_resumes(
    start: Start, provider: GatedProvider, tmp_path: Path
):
    """Ctrl-C lets the call in flight end; the next run makes only the calls that are left."""
    first = await start(*CLARITY, **provider.environment)
    await provider.arrived(2)
    first.process.send_signal(signal.SIGINT)
    await first.line("Stopping: finishing")
    provider.let_through(1)
    stopped = await first.end()

    second = await start(*CLARITY, **provider.environment)
    resumed = await second.line("resuming")
    provider.let_through(CALLS)
    ended = await second.end()

    assert stopped.status == 130
    assert "Stopped: 2 of 4 calls are on record" in stopped.err
    assert resumed == "resuming: 2 of 4 calls are on record, none will be made again"
    assert ended.status == 0, ended.err
    assert len(provider.requests) == len(set(provider.requests)) == CALLS
    assert (tmp_path / "made/clarity.pdf").is_file()
    assert "sk-secret" not in stopped.err + ended.err + ended.out


async def test_terminated_report_drains_too(start: Start, provider: GatedProvider):
    running = await start(*CLARITY, **provider.environment)
    await provider.arrived(2)

    running.process.terminate()
    await running.line("Stopping")
    provider.let_through(1)

    assert (await running.end()).status == 143


async def test_second_signal_stops_at_once(start: Start, provider: GatedProvider):
    running = await start(*CLARITY, **provider.environment)
    await provider.arrived(2)
    running.process.send_signal(signal.SIGINT)
    await running.line("Stopping")

    running.process.terminate()
    ended = await running.end()

    assert ended.status == 143
    assert "Stopped at once" in ended.err


async def test_killed_report_resumes_and_tells_what_may_be_paid_twice(
    start: Start, provider: GatedProvider, tmp_path: Path
):
    first = await start(*CLARITY, **provider.environment)
    await provider.arrived(2)
    first.process.kill()
    await first.end()

    provider.let_through(CALLS + 1)
    second = await start(*CLARITY, "--json", **provider.environment)
    ended = await second.end()

    summary = json.loads(ended.out)
    assert ended.status == 0, ended.err
    assert "resuming: 1 of 4 calls are on record" in ended.err
    assert "takes over within 15 seconds" in ended.err
    assert summary["job"]["usage"]["uncertain_calls"] == 1
    assert len(provider.requests) == CALLS + 1


async def test_report_parks_when_its_budget_does_not_allow_a_call(start: Start, provider: GatedProvider):
    """The price of the model is unknown, so a budget in money cannot be kept to: nothing is paid."""
    ended = await (await start(*CLARITY, "--budget", "1.50", **provider.environment)).end()

    assert ended.status == 75
    assert "a higher --budget" in ended.err
    assert provider.requests == []


def test_completed_report_is_written_again_without_a_call_on_a_later_day(
    holdfast: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from holdfast.cli import report_order
    from holdfast.testing.clock import ManualClock

    first = json.loads(holdfast(*CLARITY, "--json").out)
    (tmp_path / "made/clarity.pdf").unlink()

    # A clock in 2030: the default first day is another one, the job is the same.
    monkeypatch.setattr(report_order, "SystemClock", ManualClock)
    again = json.loads(holdfast(*CLARITY, "--json").out)
    words = holdfast(*CLARITY)

    assert (tmp_path / "made/clarity.pdf").is_file()
    assert again["already_completed"] is True
    assert again["job"] == first["job"]
    assert again["start"] == first["start"] != "2030-01-01"
    assert "without any model call" in words.out


def test_failed_report_says_why_and_how_to_go_on(holdfast: Command):
    refused = holdfast(*CLARITY, "--name", "Nobody")
    again = holdfast(*CLARITY, "--name", "Nobody")
    retried = holdfast(*CLARITY, "--name", "Nobody", "--retry")

    assert (refused.status, again.status, retried.status) == (3, 3, 3)
    assert "nobody has no fate" in refused.err
    assert "--retry" in refused.err
    assert "failed in an earlier run" in again.err
    assert "failed in an earlier run" not in retried.err


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--place", "Lisbonn", "did you mean"),
        ("--born", "20.5.1990", "1990-03-14"),
        ("--start", "tomorrow", "year-month-day"),
        ("--out", ".", "is a folder"),
        ("--budget", "much", "2.50"),
    ],
)
def test_what_cannot_be_used_is_told_before_a_job_exists(
    holdfast: Command, option: str, value: str, told: str
):
    ended = holdfast(*CLARITY, option, value)

    assert ended.status == 2
    assert told in re.sub(r"\s+", " ", ended.err)
    assert json.loads(holdfast("jobs", "list", "--json").out) == []


def test_unknown_report_names_the_known_ones(holdfast: Command):
    ended = holdfast(*("love_letter" if word == "life_clarity" else word for word in CLARITY))

    assert ended.status == 2
    assert "'life_clarity'" in ended.err
