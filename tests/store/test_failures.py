"""What the SQLite store does when the file, the disk or another process fails it."""

import asyncio
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.errors import (
    SchemaVersionError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from holdfast.model import JobStatus
from holdfast.store.base import JobQuery
from holdfast.store.connection import translated
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.store_suite.support import finish, job, start, submit, worker


async def limit_pages(store: SqliteStore, pages: int) -> None:
    def set_limit(tx) -> None:
        tx.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    await store._write(set_limit)


async def test_full_disk_refuses_the_write_and_heals(lab):
    store = await lab.open()
    kept = await submit(store)
    await limit_pages(store, 1)

    with pytest.raises(StoreFullError, match=r"no room left.*holdfast\.db"):
        await submit(store, input=b"x" * 100_000)

    assert [found.job_id for found in await store.list_jobs(JobQuery())] == [kept]
    await limit_pages(store, 1_000_000)
    await submit(store, input=b"x" * 100_000)


async def test_full_disk_harms_only_the_writes_that_do_not_fit(lab):
    store = await lab.open()
    await limit_pages(store, 1)

    answers = await asyncio.gather(
        *(store.insert_job(job(input=b"x" * size)) for size in (1, 100_000, 1, 100_000)),
        return_exceptions=True,
    )

    assert [isinstance(answer, StoreFullError) for answer in answers] == [False, True, False, True]
    assert len(await store.list_jobs(JobQuery())) == 2


async def test_locked_file_is_waited_for(lab):
    store = await lab.open()
    with closing(sqlite3.connect(lab.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = [asyncio.create_task(submit(store)) for _ in range(3)]
        # A read answers meanwhile, so the writes are known to wait for the other's lock alone.
        assert await store.list_jobs(JobQuery()) == []
        assert not any(task.done() for task in writing)
        other.execute("COMMIT")

        await asyncio.gather(*writing)

    assert len(await store.list_jobs(JobQuery())) == 3


async def test_file_locked_for_too_long_is_unavailable_then_usable_again(lab):
    store = await lab.open(busy_seconds=0.02)
    with closing(sqlite3.connect(lab.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        answers = await asyncio.gather(*(submit(store) for _ in range(3)), return_exceptions=True)

        assert [type(answer) for answer in answers] == [StoreUnavailableError] * 3
        other.execute("COMMIT")

    await submit(store)
    assert len(await store.list_jobs(JobQuery())) == 1


async def test_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"my notes, not a database" * 1_000)

    with pytest.raises(StoreCorruptError, match=r"notes\.txt"):
        await SqliteStore(path).open()

    assert path.read_bytes() == b"my notes, not a database" * 1_000


async def test_database_of_another_application_is_refused_untouched(tmp_path):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE notes (text)")
        other.commit()
    before = path.read_bytes()

    with pytest.raises(StoreCorruptError, match="another application"):
        await SqliteStore(path).open()

    assert path.read_bytes() == before


@pytest.mark.parametrize("opens", [True, False])
async def test_damaged_pages_are_reported_as_such(lab, opens):
    intact = lab.path.stat().st_size if opens else 8192
    store = await lab.open()
    for _ in range(50):
        await store.insert_job(job(input=b"x" * 5_000))
    await store.close()
    with lab.path.open("r+b") as file:
        file.seek(intact)
        file.write(os.urandom(50 * 8192))

    with pytest.raises(StoreCorruptError, match=r"holdfast\.db.*damaged"):
        await (await lab.open()).list_jobs(JobQuery(limit=1_000))


async def test_database_of_a_newer_release_is_refused_untouched(lab):
    with closing(sqlite3.connect(lab.path)) as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
        newer.commit()
    before = lab.path.read_bytes()

    with pytest.raises(SchemaVersionError, match=r"'9999'.*upgrade this process"):
        await lab.open()

    assert lab.path.read_bytes() == before


@pytest.mark.parametrize("name", ["missing/holdfast.db", "."])
async def test_path_that_cannot_be_opened_is_named(tmp_path, name):
    path = tmp_path / name

    with pytest.raises(StoreError, match="cannot be opened") as caught:
        await SqliteStore(path).open()

    assert str(path) in str(caught.value)


def test_read_only_and_failing_disks_have_their_own_errors():
    def error(code: int) -> sqlite3.OperationalError:
        raised = sqlite3.OperationalError("reason")
        raised.sqlite_errorcode = code
        return raised

    assert "cannot be opened for writing" in str(translated(error(sqlite3.SQLITE_READONLY), "p"))
    assert type(translated(error(sqlite3.SQLITE_IOERR_FSYNC), "p")) is StoreUnavailableError
    assert type(translated(sqlite3.ProgrammingError("reason"), "p")) is StoreError


async def test_closed_store_refuses_and_opens_again(lab):
    store = await lab.open()
    job_id = await submit(store)
    await store.open()
    await store.close()
    await store.close()

    with pytest.raises(StoreError, match="not open"):
        await store.get_job(job_id)
    with pytest.raises(StoreError, match="not open"):
        await submit(store)
    with pytest.raises(StoreError, match="not open"):
        store.beat(worker("w1"), first=True)
    await store.open()
    assert (await store.get_job(job_id)).job_id == job_id


async def test_close_commits_what_was_asked_for(lab):
    store = await lab.open()
    writing = [asyncio.create_task(submit(store)) for _ in range(2_500)]
    await asyncio.sleep(0)

    await store.close()

    ids = await asyncio.gather(*writing)
    again = await lab.open()
    assert (await again.inspect()).jobs[JobStatus.QUEUED] == len(set(ids)) == 2_500


WRITE_UNTIL_KILLED = """
import asyncio, sys
from holdfast.store import open_store
from holdfast.store.base import NewJob

async def main():
    store = await open_store("sqlite:///" + sys.argv[1])

    async def submit(lane):
        for number in range(10**9):
            job_id = f"job_{lane}_{number}"
            await store.insert_job(NewJob(job_id=job_id, kind="k", queue="q", input=b"x" * 500))
            print(job_id, flush=True)

    await asyncio.gather(*map(submit, range(8)))

asyncio.run(main())
"""


@pytest.mark.process
async def test_every_acknowledged_write_survives_kill_9(lab):
    program = (sys.executable, "-c", WRITE_UNTIL_KILLED, str(lab.path))
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    acknowledged = [(await process.stdout.readline()).decode().strip() for _ in range(300)]

    process.kill()

    # The last line may have been cut by the kill.
    acknowledged += (await process.communicate())[0].decode().splitlines()[:-1]
    store = await lab.open()
    assert len(acknowledged) >= 300
    for job_id in acknowledged:
        assert (await store.get_job(job_id)).status is JobStatus.QUEUED
    assert (await store.read_events(acknowledged[0]))[0].type == "job.queued"
    store.beat(worker("w1"), first=True)
    await finish(store, await start(store))


def test_file_url_paths(tmp_path: Path):
    assert SqliteStore(tmp_path / "x.db").path == str(tmp_path / "x.db")
