"""Real processes: workers, commands and a provider, each in a session of its own, none left over."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from holdfast import App
from holdfast.engine.client import JobClient
from holdfast.model import Call, CallStatus, Event, Job
from holdfast.settings import Settings
from holdfast.store.base import JobRecords
from tests.process import jobs

ROOT = Path(__file__).parents[2]
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 120.0
HOLDFAST = ("-c", "from holdfast.cli import main; main()")
APP = ("--app", "tests.process.jobs:app")


async def eventually(holds: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS) -> Any:
    """Return the first true value that `holds` gives, awaited if need be."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"not within {seconds:g} s: {what}")


class Process:
    """A process in its own session, with all it has said on stderr."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pid = process.pid
        self.said: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode(errors="replace").rstrip())

    async def says(self, word: str, *, times: int = 1, seconds: float = PATIENCE_SECONDS) -> None:
        """Return once it has said something so many times."""

        def said() -> bool:
            return sum(word in line for line in self.said) >= times

        def heard() -> bool:
            ended = self._reading.done()
            assert said() or not ended, "\n".join(self.said)
            return said()

        await eventually(heard, f"{word!r} {times} times", seconds=seconds)

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def end(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        """Return the exit status once it has ended."""
        async with asyncio.timeout(seconds):
            status = await self.process.wait()
            await self._reading
        return status

    async def kill(self) -> None:
        """End it and all it started, whatever it is doing."""
        for number in (signal.SIGKILL, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
        await self.process.wait()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@dataclass
class Provider:
    """The simulator in its own process, and what its journal says."""

    process: Process
    base_url: str
    zero: float
    """Of its clock, as `time.monotonic` of this machine."""
    journal: Path

    def calls(self) -> list[dict[str, Any]]:
        """Return all calls in order of arrival, as last told."""
        found: dict[int, dict[str, Any]] = {}
        for line in self.journal.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                record = json.loads(line)
                found[record["number"]] = record
        return list(found.values())


@dataclass
class Place:
    """A folder with a store, its provider, and the processes that work there."""

    folder: Path
    provider: Provider
    client: JobClient
    environment: dict[str, str]
    processes: list[Process] = field(default_factory=list)

    async def holdfast(self, *arguments: str, **environment: str) -> Process:
        """Start a command."""
        process = await start(
            *HOLDFAST, *arguments, environment={**self.environment, **environment}, folder=self.folder
        )
        self.processes.append(process)
        return process

    async def worker(self, *arguments: str, ready: bool = True, **environment: str) -> Process:
        """Start a worker, and wait until it works."""
        process = await self.holdfast(*APP, "worker", *arguments, **environment)
        if ready:
            await process.says("ready")
        return process

    async def ask(self, name: str, **options: Any) -> str:
        """Submit a job of many questions."""
        job = await self.client.submit("ask", jobs.Questions(name=name, **options))
        return job.job_id

    async def events(self, job_id: str, *types: str) -> list[Event]:
        """Return the job's events so far."""
        store = self.client._store
        return list(await store.read_events(job_id, limit=100_000, types=types))

    async def ended(self, job_id: str, *, seconds: float = PATIENCE_SECONDS) -> Job:
        """Return the job once it has ended."""

        async def found() -> Job | None:
            job = await self.client.get(job_id)
            return job if job.status.terminal else None

        try:
            job: Job = await eventually(found, f"the end of {job_id}", seconds=seconds)
        except AssertionError as error:
            said = [line for process in self.processes for line in process.said[-20:]]
            raise AssertionError("\n".join([str(error), *said])) from None
        return job

    async def epochs(self, job_id: str) -> list[int]:
        """Return the epochs of the job's attempts in the order of its events."""
        return [
            json.loads(event.data)["epoch"] for event in await self.events(job_id, "attempt.started")
        ]


async def start(*arguments: str, environment: dict[str, str], folder: Path) -> Process:
    """Start a Python process in its own session."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    return Process(process)


def python_processes_in(folder: Path) -> set[int]:
    """Return the processes that work in a folder, or below it."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(folder):
                found.add(int(entry.name))
    return found


@pytest.fixture(autouse=True)
def no_process_left_behind(tmp_path: Path) -> Iterator[None]:
    """Every process of a test works below its folder; none may outlive the test."""
    yield
    limit = time.monotonic() + 5
    while (left := python_processes_in(tmp_path)) and time.monotonic() < limit:
        time.sleep(POLL_SECONDS)
    assert not left, f"processes left behind: {sorted(left)}"


Open = Callable[..., Awaitable[Place]]


@pytest.fixture
async def open_place(tmp_path: Path) -> AsyncIterator[Open]:
    """Open a place: provider process and client; everything is killed at the end."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HOLDFAST_", "OPENAI_"))
    }
    clean["PYTHONPATH"] = str(ROOT)
    places: list[Place] = []
    async with contextlib.AsyncExitStack() as stack:

        async def make(
            *, latency: float = 0.1, home: Path | None = None, lease_seconds: float | None = None
        ) -> Place:
            journal = tmp_path / "journal.jsonl"
            told = ("-m", "tests.process.provider", str(journal), "--first-token-seconds", str(latency))
            process = await start(*told, environment=clean, folder=tmp_path)
            stack.push_async_callback(process.kill)
            assert process.process.stdout is not None
            url, zero = (await process.process.stdout.readline()).decode().split()
            provider = Provider(process, url, float(zero), journal)
            home = home or tmp_path / "home"
            home.mkdir(exist_ok=True)
            environment = {
                **clean,
                "HOLDFAST_HOME": str(home),
                "HOLDFAST_OPENAI_BASE_URL": url,
                "HOLDFAST_OPENAI_API_KEY": "test",
                "HOLDFAST_REQUESTS_PER_MINUTE": "1000000",
                "HOLDFAST_TOKENS_PER_MINUTE": "1000000000",
            }
            if lease_seconds is not None:
                environment["HOLDFAST_LEASE_SECONDS"] = str(lease_seconds)
            app = App(Settings(home=home, provider="scripted"))
            app.registry = jobs.app.registry
            client = await stack.enter_async_context(app.client())
            place = Place(tmp_path, provider, client, environment)
            places.append(place)
            return place

        yield make
        for place in places:
            for process in place.processes:
                await process.kill()


@dataclass
class Verdict:
    """What the provider was asked more than once, and what the ledger says of it."""

    calls: int
    answered: int
    asked_twice: int
    """Questions that reached the provider more than once."""
    paid_twice: int
    """Answers to a question beyond its first."""
    told: list[Call]
    """Calls that the ledger tells to be repeated."""


async def audit(place: Place, *job_ids: str) -> Verdict:
    """Hold the provider's journal against the ledger.

    Every call that reached the provider is in the ledger; of several calls with the same question
    all but the last are told as uncertain or lost.
    """
    records: list[JobRecords] = [await place.client.records(job_id) for job_id in job_ids]
    ledger = {call.call_id: call for found in records for call in found.calls}
    seen = place.provider.calls()
    by_body: dict[str, list[dict[str, Any]]] = {}
    for each in seen:
        assert each["client_request_id"] in ledger, "a call is not on record"
        by_body.setdefault(each["body_hash"], []).append(each)
    for group in by_body.values():
        told = [ledger[each["client_request_id"]].status for each in group]
        assert all(status.repeats for status in told[:-1]), f"asked again and not told: {told}"
        assert told[-1] is CallStatus.SETTLED, told
    answered = Counter(each["body_hash"] for each in seen if each["answered"])
    for job_id in job_ids:
        job = await place.client.get(job_id)
        events = await place.events(job_id)
        assert [event.seq for event in events] == list(range(1, job.event_seq + 1))
        epochs = await place.epochs(job_id)
        assert epochs == sorted(set(epochs)), f"epochs overlap: {epochs}"
        calls = (await place.client.records(job_id)).calls
        assert job.usage.calls == sum(
            call.status not in (CallStatus.UNCERTAIN, CallStatus.RESERVED) for call in calls
        )
        assert job.usage.uncertain_calls == sum(call.status is CallStatus.UNCERTAIN for call in calls)
        assert job.usage.input_tokens == sum(call.input_tokens for call in calls)
    return Verdict(
        calls=len(seen),
        answered=sum(answered.values()),
        asked_twice=sum(len(group) > 1 for group in by_body.values()),
        paid_twice=sum(count - 1 for count in answered.values()),
        told=[call for call in ledger.values() if call.status.repeats],
    )
