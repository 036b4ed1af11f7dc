"""Workers die by SIGKILL at any moment; jobs end well and the ledger knows what was paid twice."""

import asyncio
import functools
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from holdfast.model import JobStatus
from tests.process.conftest import APP, Open, Place, Process, audit, eventually

pytestmark = [pytest.mark.process, pytest.mark.timeout(900)]

SEED = int(os.environ.get("HOLDFAST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
ROUNDS = int(os.environ.get("HOLDFAST_ROUNDS", "30"))
CONCURRENCY = 4
LEASE_SECONDS = 4.0
"""Long enough for a worker that is alive on a machine where everything else runs, too. Whoever starts on
the same machine does not wait for the lease of one that is gone."""
LEAVINGS = ("attempt.lost", "attempt.released")
"""Events that tell how a job came away from a worker: by its lease, or handed back."""


async def test_jobs_survive_thirty_kills_at_random_moments(open_place: Open, capsys):
    """All jobs complete with their files; every call that was repeated was in flight at a kill."""
    draw = random.Random(SEED)
    place = await open_place(latency=0.15, lease_seconds=LEASE_SECONDS)
    job_ids = [await place.ask("job 0", count=60, concurrency=CONCURRENCY)]
    began = time.monotonic()

    before = barren = 0

    async def steps() -> int:
        return len(await place.events(job_ids[-1], "step.completed"))

    async def moved(since: int) -> bool:
        return await steps() > since

    for _ in range(ROUNDS):
        worker = await place.worker(ready=draw.random() < 0.85)
        if barren:
            # A job that takes three workers down in one step fails as poison: a promise, too.
            await eventually(functools.partial(moved, before), "a finished step")
        await asyncio.sleep(draw.uniform(0.0, 1.2))
        worker.signal(signal.SIGKILL)
        assert await worker.end() == -signal.SIGKILL
        done = await steps()
        before, barren = done, barren + 1 if done == before else 0
        if (await place.client.get(job_ids[-1])).status.terminal:
            name = f"job {len(job_ids)}"
            job_ids.append(await place.ask(name, count=60, concurrency=CONCURRENCY))
            before = barren = 0
    await place.worker()
    ended = [await place.ended(job_id) for job_id in job_ids]
    assert [job.status for job in ended] == [JobStatus.COMPLETED] * len(job_ids)
    verdict = await audit(place, *job_ids)

    with capsys.disabled():
        print(  # noqa: T201 - the figures of the run
            f"\n  HOLDFAST_SEED={SEED}: {ROUNDS} kills in {time.monotonic() - began:.0f} s,"
            f" {len(job_ids)} jobs, {sum(job.epoch for job in ended)} attempts; {verdict.calls} calls,"
            f" {verdict.asked_twice} asked again, {verdict.paid_twice} paid twice,"
            f" {len(verdict.told)} told in the ledger"
        )
    assert verdict.paid_twice <= verdict.asked_twice <= len(verdict.told) <= ROUNDS * CONCURRENCY
    for job_id in job_ids:
        [artifact] = await place.client.artifacts(job_id)
        text = b"".join([chunk async for chunk in place.client.stream_artifact(artifact)])
        assert len(text) == artifact.size_bytes


async def test_report_command_survives_kills_and_writes_its_file(open_place: Open, tmp_path, capsys):
    """The same `holdfast report` command, killed again and again, ends with the PDF in its place."""
    draw = random.Random(SEED)
    place = await open_place(latency=0.3, lease_seconds=LEASE_SECONDS)
    command = [
        *("report", "personal_horoscope", "--name", "Ada Example", "--born", "1990-05-20 14:30"),
        *("--place", "Lisbon", "--days", "30", "--answers", "2", "--out", "year.pdf", "--json"),
    ]
    pace = {"HOLDFAST_REQUESTS_PER_MINUTE": "150"}
    kills = 0

    def answered() -> int:
        return sum(call["answered"] for call in place.provider.calls())

    def moved(process: Process, since: int) -> bool:
        return answered() > since or process.process.returncode is not None

    for _ in range(4):
        finished = answered()
        process = await place.holdfast(*command, **pace)
        await eventually(functools.partial(moved, process, finished), "an answer, or the end")
        await asyncio.sleep(draw.uniform(0.0, 0.6))
        if process.process.returncode is not None:
            break
        process.signal(signal.SIGKILL)
        await process.end()
        kills += 1
    last = await place.holdfast(*command, **pace)
    status = await last.end()

    assert status == 0, "\n".join(last.said)
    assert (tmp_path / "year.pdf").read_bytes().startswith(b"%PDF-")
    [job] = await place.client.list()
    verdict = await audit(place, job.job_id)
    with capsys.disabled():
        print(  # noqa: T201 - the figures of the run
            f"\n  HOLDFAST_SEED={SEED}: report with {kills} kills, {verdict.calls} calls,"
            f" {verdict.asked_twice} asked again, {verdict.paid_twice} paid twice,"
            f" {len(verdict.told)} told"
        )
    assert kills
    assert verdict.asked_twice <= len(verdict.told)


async def test_another_worker_takes_over_after_kill_9(open_place: Open, capsys):
    """By the default lease, and by itself. How long that takes is measured by `bench/killed.py`."""
    place = await open_place()
    first = await place.worker()
    job_id = await place.ask("takeover", count=4, concurrency=1, slow="[slow:60]")
    await eventually(place.provider.calls, "the first call")
    await place.worker()

    killed_at = time.monotonic()
    first.signal(signal.SIGKILL)
    await eventually(lambda: len(place.provider.calls()) > 1, "the next call")
    seconds = place.provider.zero + place.provider.calls()[1]["started"] - killed_at

    with capsys.disabled():
        print(f"\n  kill -9 to the next step: {seconds:.1f} s")  # noqa: T201 - the figure of the run
    assert await place.epochs(job_id) == [1, 2]


async def test_stopped_worker_comes_back_as_a_zombie_and_writes_and_pays_nothing(open_place: Open):
    """After its lease has run out, a worker changes nothing of the job, then serves as a new one."""
    place = await open_place(lease_seconds=LEASE_SECONDS)
    zombie = await place.worker()
    answered = place.folder / "answered"
    job_id = await place.ask("zombie", count=8, concurrency=3, slow=f"[until:{answered}]")
    await eventually(lambda: len(place.provider.calls()) == 3, "calls in flight")
    zombie.signal(signal.SIGSTOP)
    answered.touch()
    other = await place.worker()
    ended = await place.ended(job_id)
    events, records = await place.events(job_id), await place.client.records(job_id)
    calls = len(place.provider.calls())

    zombie.signal(signal.SIGCONT)
    await zombie.says("worker started", times=2)
    other.signal(signal.SIGTERM)
    assert await other.end() == 0
    second = await place.ask("after", count=3)
    served = await place.ended(second)

    assert ended.status is served.status is JobStatus.COMPLETED
    assert await place.client.get(job_id) == ended
    assert await place.events(job_id) == events
    assert await place.client.records(job_id) == records
    assert len(place.provider.calls()) == calls + 3
    [started] = await place.events(second, "attempt.started")
    assert json.loads(started.data)["worker_id"] != json.loads(events[1].data)["worker_id"]
    verdict = await audit(place, job_id, second)
    assert verdict.asked_twice == len(verdict.told) == 3


async def test_sigterm_lets_calls_end_and_another_worker_goes_on_at_once(open_place: Open, capsys):
    """A drain repeats nothing, waits for no lease, and costs no attempt; the exit status is 0."""
    place = await open_place()
    first = await place.worker()
    answered = place.folder / "answered"
    job_id = await place.ask("drain", count=12, concurrency=3, slow=f"[until:{answered}]")
    await eventually(lambda: len(place.provider.calls()) == 3, "calls in flight")
    await place.worker()

    first.signal(signal.SIGTERM)
    await first.says("draining")
    answered.touch()
    assert await first.end() == 0
    left_at = time.time()
    job = await place.ended(job_id)
    attempts = await place.events(job_id, "attempt.started")
    verdict = await audit(place, job_id)

    assert job.status is JobStatus.COMPLETED
    assert (job.attempt, job.epoch) == (1, 2)
    assert verdict.calls == verdict.answered == 12
    assert not verdict.told
    gap = attempts[1].at.timestamp() - left_at
    with capsys.disabled():
        print(f"\n  drained worker gone, next attempt {gap:+.2f} s later")  # noqa: T201
    assert [event.type for event in await place.events(job_id, *LEAVINGS)] == ["attempt.released"]


async def test_two_workers_share_the_jobs_of_one_file(open_place: Open):
    """Each job is owned once, both workers have some, nothing is asked twice."""
    place = await open_place(latency=0.05)
    await place.worker("--concurrency", "2")
    await place.worker("--concurrency", "2")

    # Each takes long enough for the other worker to come, too.
    slow = {"count": 6, "slow": "[slow:0.5]"}
    job_ids = [await place.ask(f"shared {number}", **slow) for number in range(12)]
    ended = [await place.ended(job_id) for job_id in job_ids]
    verdict = await audit(place, *job_ids)

    assert all(job.status is JobStatus.COMPLETED for job in ended)
    assert verdict.calls == verdict.answered == 12 * 6
    owners = [await owners_of(place, job_id) for job_id in job_ids]
    assert all(len(found) == 1 for found in owners)
    assert len({owner for found in owners for owner in found}) == 2


async def owners_of(place: Place, job_id: str) -> list[str]:
    started = await place.events(job_id, "attempt.started")
    return [json.loads(event.data)["worker_id"] for event in started]


async def test_cancel_from_another_process_closes_the_socket_and_ends_the_child(
    open_place: Open, tmp_path, capsys
):
    """`holdfast jobs cancel` ends the call in flight and the child process, neither by its own time.

    How long that takes is measured by `bench/cancel.py`.
    """
    place = await open_place()
    await place.worker()
    job = await place.client.submit("computes", str(tmp_path))
    await eventually(place.provider.calls, "the call")
    child = await eventually(functools.partial(number_in, tmp_path / "child.pid"), "the child process")

    command = await place.holdfast(*APP, "jobs", "cancel", job.job_id)
    assert await command.end() == 0
    ended = await place.ended(job.job_id)
    await eventually(lambda: place.provider.calls()[0]["disconnected"], "the closing of the socket")

    [asked] = await place.events(job.job_id, "job.cancel_requested")
    offset = time.time() - time.monotonic()
    closed_at = place.provider.zero + place.provider.calls()[0]["ended"] + offset
    seconds = closed_at - asked.at.timestamp()
    with capsys.disabled():
        print(f"\n  cancel to closed socket: {seconds:.2f} s")  # noqa: T201 - the figure of the run
    assert ended.status is JobStatus.CANCELLED
    await eventually(lambda: not Path("/proc", str(child)).exists(), "the end of the child process")


def number_in(file: Path) -> int | None:
    """Return what the file says, once it is written."""
    return int(file.read_text()) if file.exists() and file.read_text().endswith("\n") else None
