import asyncio
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.engine.host import host_identity, is_gone
from holdfast.store.base import ClaimRequest, WorkerRecord


def worker(pid, host=None):
    return WorkerRecord(
        worker_id="w",
        host=host or host_identity(),
        pid=pid,
        queues=None,
        slots=1,
        running=0,
        lease_seconds=10,
    )


@pytest.fixture
def ended_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_worker_whose_process_has_ended_here_is_gone(ended_pid):
    assert is_gone(worker(ended_pid))


def test_worker_whose_process_runs_is_not_gone():
    assert not is_gone(worker(os.getpid()))


def test_nothing_is_certain_of_a_worker_elsewhere(ended_pid):
    assert not is_gone(worker(ended_pid, host="elsewhere"))


def test_process_of_another_user_is_there(monkeypatch):
    def refuse(pid, signal):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)

    assert not is_gone(worker(1))


def test_host_without_proc_goes_by_its_name(monkeypatch):
    def refuse(*args, **options):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "stat", refuse)

    assert "/" not in host_identity()


async def test_worker_that_starts_rescues_at_once_from_dead_processes_of_this_host(idle, ended_pid):
    """A program that was killed and is started again goes on without waiting for the lease."""

    async def work(job):
        return job.attempt

    idle.job("work", work)
    job_id = await idle.submit("work")
    await asyncio.to_thread(
        idle.store.beat, dataclasses.replace(worker(ended_pid), worker_id="dead"), first=True
    )
    await idle.store.claim_jobs(ClaimRequest(worker_id="dead", kinds=("work",)))
    await idle.start_worker()
    ended = await idle.end_of(job_id)

    assert (ended.output, ended.epoch) == (b"1", 2)
