"""Trouble with the disk under the database: the job goes on afterwards, nothing is paid twice."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.model import JobStatus
from tests.process.conftest import Open, audit, eventually

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

DISK_BYTES = 32 * 1024**2
"""More than the write-ahead log grows to."""
TROUBLE_SECONDS = 3.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here; tests/crash fills the database instead")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until there is no room left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


async def test_job_goes_on_after_the_disk_was_full(open_place: Open, small_disk, capsys):
    """No answer is thrown away because it could not be booked or stored at once."""
    place = await open_place(home=small_disk / "home", latency=0.2)
    worker = await place.worker()
    job_id = await place.ask("full", count=40, concurrency=4)
    await eventually(lambda: len(place.provider.calls()) >= 6, "calls")

    fill(small_disk / "filler")
    await worker.says("store_full")
    await asyncio.sleep(TROUBLE_SECONDS)
    (small_disk / "filler").unlink()
    job = await place.ended(job_id)
    verdict = await audit(place, job_id)

    with capsys.disabled():
        print(f"\n  full disk for {TROUBLE_SECONDS:g} s: {verdict.calls} calls")  # noqa: T201
    assert job.status is JobStatus.COMPLETED
    assert (verdict.calls, verdict.answered, verdict.told) == (40, 40, [])
    assert await place.epochs(job_id) == [1]


async def test_job_goes_on_after_the_database_was_locked(open_place: Open, tmp_path):
    """Another process that holds the write lock for seconds costs time and nothing else."""
    place = await open_place(latency=0.2)
    await place.worker()
    job_id = await place.ask("locked", count=40, concurrency=4)
    await eventually(lambda: len(place.provider.calls()) >= 6, "calls")

    with contextlib.closing(sqlite3.connect(tmp_path / "home" / "holdfast.db", timeout=10)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(TROUBLE_SECONDS)
        other.execute("ROLLBACK")
    job = await place.ended(job_id)
    verdict = await audit(place, job_id)

    assert job.status is JobStatus.COMPLETED
    assert (verdict.calls, verdict.answered, verdict.told) == (40, 40, [])
    assert await place.epochs(job_id) == [1]
