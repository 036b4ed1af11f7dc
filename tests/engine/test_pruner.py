"""Retention by kind, the files of deleted jobs, and files that nobody refers to."""

import os
from datetime import timedelta

import pytest

from holdfast.artifacts.base import SETTLED_AFTER
from holdfast.artifacts.local import LocalArtifacts
from holdfast.clock import SystemClock
from holdfast.engine.pruner import PRUNE_INTERVAL_SECONDS, PRUNE_PAUSE_SECONDS, Pruner
from holdfast.engine.registry import Registry
from holdfast.engine.retention import Retention
from holdfast.errors import ArtifactError, ConfigError, JobNotFoundError, StoreUnavailableError
from holdfast.store.base import JobQuery, PruneRequest
from holdfast.testing.faults import Fault
from holdfast.testing.signals import Mark

DAY = timedelta(days=1)
DAY_SECONDS = DAY.total_seconds()


async def work(job):
    pass


async def saves(job, content: str):
    await job.save_artifact("book.txt", content.encode())


async def ended(lab, *kinds):
    return [(await lab.end_of(await lab.submit(kind))).job_id for kind in kinds]


async def left(lab):
    return [job.job_id for job in reversed(await lab.client.list(JobQuery(limit=1_000)))]


def files(lab):
    return [path.name for path in lab.artifacts.folder.rglob("*") if path.is_file()]


@pytest.fixture
def pruner(lab):
    return Pruner(lab.client.retention, lab.registry, lab.clock)


@pytest.fixture
def retention(lab):
    """Looks at files' dates with the clock that stamps them."""
    return Retention(lab.store, LocalArtifacts(lab.artifacts.folder, SystemClock()))


async def test_kinds_are_kept_as_long_as_they_say(lab, pruner):
    lab.job("short", work, keep=DAY)
    lab.job("long", work, keep=3 * DAY)
    lab.job("always", work)
    short, long, always = await ended(lab, "short", "long", "always")

    lab.clock.advance(DAY_SECONDS - 60)
    assert await pruner.work() == PRUNE_INTERVAL_SECONDS
    assert await left(lab) == [short, long, always]

    lab.clock.advance(120)
    await pruner.work()
    assert await left(lab) == [long, always]

    lab.clock.advance(3 * DAY_SECONDS)
    await pruner.work()
    assert await left(lab) == [always]


async def test_general_retention_holds_for_known_kinds_that_say_nothing(lab, pruner):
    lab.job("own", work, keep=3 * DAY)
    lab.job("general", work)
    own, _ = await ended(lab, "own", "general")
    stranger = Registry()
    stranger.keep = DAY
    lab.clock.advance(DAY_SECONDS + 60)

    await Pruner(lab.client.retention, stranger, lab.clock).work()
    assert len(await left(lab)) == 2
    lab.registry.keep = DAY
    await pruner.work()

    assert await left(lab) == [own]


@pytest.mark.parametrize("keep", [timedelta(), -DAY])
async def test_retention_of_no_time_is_refused(lab, keep):
    with pytest.raises(ConfigError, match="no time at all"):
        lab.job("work", work, keep=keep)


async def test_pruner_comes_again_soon_while_there_is_more(lab, pruner, caplog):
    caplog.set_level("INFO", logger="holdfast")
    lab.job("work", work, keep=DAY)
    await ended(lab, *["work"] * 101)
    lab.clock.advance(DAY_SECONDS + 60)

    assert await pruner.work() == PRUNE_PAUSE_SECONDS
    assert len(await left(lab)) == 1
    assert await pruner.work() == PRUNE_INTERVAL_SECONDS
    assert await left(lab) == []
    assert caplog.text.count("jobs pruned") == 2


async def test_pruner_goes_on_after_trouble_with_other_kinds(lab, pruner, caplog):
    lab.job("first", work, keep=DAY)
    lab.job("second", work, keep=DAY)
    first, _ = await ended(lab, "first", "second")
    lab.clock.advance(DAY_SECONDS + 60)
    lab.faults.add(Fault(verb="prune_jobs", action=StoreUnavailableError("away")))

    assert await pruner.work() == PRUNE_INTERVAL_SECONDS

    assert "pruning failed" in caplog.text
    assert await left(lab) == [first]


async def test_worker_prunes_by_itself(idle):
    idle.job("work", work, keep=DAY)
    rounds = Mark()
    idle.faults.add(Fault(verb="prune_jobs", when="after", action=rounds.hit, times=2))
    await idle.start_worker(lease_seconds=1_000_000)
    await rounds.wait()
    job_id = (await ended(idle, "work"))[0]

    idle.clock.advance(DAY_SECONDS + 60)
    await rounds.wait(2)

    with pytest.raises(JobNotFoundError):
        await idle.client.get(job_id)


async def test_worker_whose_jobs_are_all_kept_asks_nothing_of_the_store(lab):
    lab.job("work", work)

    assert lab.workers[0].pruner.roles == ()
    assert "prune_jobs" not in lab.faults.calls


# files -------------------------------------------------------------------------------------------


async def test_files_of_deleted_jobs_go_unless_another_job_has_the_same(lab, pruner):
    lab.job("short", saves, keep=DAY)
    lab.job("long", saves)
    for kind, content in (("short", "own"), ("short", "shared"), ("long", "shared")):
        await lab.run(kind, content)
    assert len(files(lab)) == 2
    lab.clock.advance(DAY_SECONDS + 60)

    await pruner.work()

    [kept] = [found.sha256 for job in await left(lab) for found in await lab.client.artifacts(job)]
    assert files(lab) == [kept]


async def test_file_that_was_stored_a_moment_ago_stays_for_whoever_stored_it(lab, retention):
    lab.job("saves", saves)
    await lab.run("saves", "content")

    removal = await retention.prune(PruneRequest(kind="saves"))

    assert (removal.files, len(removal.files_left)) == (0, 1)
    assert files(lab) == sorted(removal.files_left)
    make_old(lab)
    assert (await retention.collect_files()).files == 1
    assert files(lab) == []


async def test_files_that_no_job_refers_to_are_collected_and_others_stay(lab, retention):
    """A worker dies between storing a file and its reference, or a pruner between the two deletions."""
    lab.job("saves", saves)
    await lab.run("saves", "content")
    await lab.artifacts.put_bytes(b"never referred to")
    assert (await retention.collect_files()).files == 0
    make_old(lab)

    counted = await retention.collect_files(dry_run=True)
    assert (counted.files, len(files(lab))) == (1, 2)
    collected = await retention.collect_files()

    assert (collected.files, len(files(lab))) == (1, 1)
    assert (await retention.collect_files()).files == 0


async def test_file_that_cannot_be_deleted_is_told_and_does_not_hold_up_the_others(
    lab, pruner, caplog, monkeypatch
):
    lab.job("saves", saves)
    for content in ("first", "second"):
        await lab.run("saves", content)
    delete = lab.artifacts.delete
    broken = min(files(lab))

    async def refuse(sha256, **options):
        if sha256 == broken:
            raise ArtifactError("the disk refuses")
        return await delete(sha256, **options)

    monkeypatch.setattr(lab.artifacts, "delete", refuse)

    removal = await lab.client.retention.prune(PruneRequest(kind="saves"))

    assert (removal.files, removal.files_left) == (1, {broken})
    assert "file not deleted" in caplog.text
    monkeypatch.undo()
    assert (await lab.client.retention.collect_files()).files == 1


def make_old(lab):
    stamp = SystemClock().now().timestamp() - 2 * SETTLED_AFTER.total_seconds()
    for path in lab.artifacts.folder.rglob("*"):
        if path.is_file():
            os.utime(path, (stamp, stamp))
