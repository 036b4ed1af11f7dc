"""Workers of a fleet, on both brokers: what they do, and what may happen to them."""

import asyncio
import contextlib
import os
import signal
from typing import Self

import pytest
from kombu import Queue

from holdfast.dispatch.celery_task import RUN_TASK
from holdfast.model import JobStatus
from tests.process.conftest import eventually

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

CLAIMED = "holdfast_jobs_claimed_total"
REPAIRED = "holdfast_repairs_total"


async def test_jobs_run_where_their_queue_is_served(open_fleet, broker):
    fleet = await open_fleet(broker)
    quick, slow = await asyncio.gather(
        fleet.worker("--queues", "quick"), fleet.worker("--queues", "slow")
    )

    ended = await fleet.ended(
        *await fleet.submit("add", 1, 20),
        *await fleet.submit("hold", 0.1, 10),
        *await fleet.submit("compute", 7),
    )

    assert {job.status for job in ended} == {JobStatus.COMPLETED}
    assert fleet.client.output_of(ended[-1]) == 49
    assert [await fleet.metric(each, CLAIMED) for each in (quick, slow)] == [21, 10]
    assert await fleet.metric(quick, REPAIRED) == 0
    assert await fleet.get(slow, "/health/live") == (200, "alive\n")


async def test_job_that_was_never_announced_is_repaired(open_fleet, broker):
    fleet = await open_fleet(broker)
    worker = await fleet.worker()
    silent = await fleet.unannounced("add", 1, 5)

    await fleet.ended(*silent)

    assert await fleet.metric(worker, REPAIRED) == 5
    await worker.says("jobs repaired")


async def test_jobs_of_a_killed_worker_run_again_elsewhere(open_fleet, broker):
    fleet = await open_fleet(broker)
    first = await fleet.worker()
    job_ids = await fleet.submit("hold", 600.0, 50)
    await fleet.until(JobStatus.RUNNING, *job_ids)
    second = await fleet.worker()

    first.signal(signal.SIGKILL)
    await eventually(lambda: fleet.metric_is(second, CLAIMED, 50), "all are claimed again")

    found = [await fleet.client.get(job_id) for job_id in job_ids]
    assert {(job.status, job.lost_workers, job.epoch) for job in found} == {(JobStatus.RUNNING, 1, 2)}


async def test_drained_worker_hands_a_thousand_waiting_jobs_back_and_leaves(open_fleet, broker):
    fleet = await open_fleet(broker)
    worker = await fleet.worker("--concurrency", "1000", HOLDFAST_DRAIN_GRACE_SECONDS="1")
    job_ids = await fleet.submit("hold", 600.0, 1000)
    await eventually(lambda: fleet.metric_is(worker, "holdfast_jobs_running", 1000), "all run")

    worker.signal(signal.SIGTERM)

    assert await worker.end() == 0, worker.said[-10:]
    await fleet.until(JobStatus.QUEUED, *job_ids[:50], *job_ids[-50:])
    second = await fleet.worker("--concurrency", "1000")
    await eventually(lambda: fleet.metric_is(second, "holdfast_jobs_running", 1000), "all run again")


async def test_call_in_flight_ends_while_the_worker_drains(open_fleet, redis_broker):
    fleet = await open_fleet(redis_broker)
    worker = await fleet.worker()
    (job_id,) = await fleet.submit("hold", 2.0)
    await fleet.until(JobStatus.RUNNING, job_id)

    worker.signal(signal.SIGTERM)

    assert await worker.end() == 0
    job = await fleet.client.get(job_id)
    assert (job.status, job.epoch) == (JobStatus.COMPLETED, 1)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
async def test_second_signal_ends_a_worker_at_once_and_cancels_nothing(open_fleet, redis_broker, name):
    fleet = await open_fleet(redis_broker)
    worker = await fleet.worker(HOLDFAST_DRAIN_GRACE_SECONDS="600")
    (job_id,) = await fleet.submit("hold", 600.0)
    await fleet.until(JobStatus.RUNNING, job_id)

    worker.signal(signal.Signals[name])
    await worker.says("draining")
    await asyncio.sleep(0.6)  # sooner it would be taken for an echo of the first
    worker.signal(signal.Signals[name])

    assert await worker.end() != 0, worker.said[-10:]
    assert (await fleet.client.get(job_id)).cancel_requested_at is None


async def test_message_that_names_no_job_harms_no_worker(open_fleet, broker):
    fleet = await open_fleet(broker)
    worker = await fleet.worker("--queues", "quick")
    queue = f"{fleet.app.settings.queue_prefix}quick"

    for arguments in ([], ["\0bad"], [["x"]], [5], ["job_1", "job_2"]):
        await asyncio.to_thread(
            fleet.celery.send_task, RUN_TASK, arguments, queue=queue, ignore_result=True
        )
    await fleet.ended(*await fleet.submit("add", 1))

    await eventually(
        lambda: sum("names no job" in line for line in worker.said) == 5, "each is told once"
    )
    assert await fleet.metric(worker, REPAIRED) == 0
    await eventually(lambda: nothing_active(fleet), "no message is held")


async def nothing_active(fleet) -> bool:
    """Whether the one worker has answered all messages."""
    return list((await fleet.control("inspect_active")).values()) == [[]]


async def test_worker_that_starts_without_its_broker_takes_jobs_from_the_store(open_fleet, broker):
    fleet = await open_fleet(broker)
    await asyncio.to_thread(broker.kill)

    worker = await fleet.worker(ready=False)
    await worker.says("jobs are taken from the store")
    await fleet.ended(*await fleet.submit("add", 1))
    assert (await fleet.get(worker, "/health/live"))[0] == 200

    await asyncio.to_thread(broker.start)
    await worker.says("info: ready")


async def test_worker_leaves_although_its_broker_hangs(open_fleet, broker):
    fleet = await open_fleet(broker)
    worker = await fleet.worker(HOLDFAST_DRAIN_GRACE_SECONDS="1")
    (job_id,) = await fleet.submit("hold", 600.0)
    await fleet.until(JobStatus.RUNNING, job_id)

    with frozen(broker):
        worker.signal(signal.SIGTERM)
        assert await worker.end() == 0

    await fleet.until(JobStatus.QUEUED, job_id)


@contextlib.contextmanager
def frozen(broker):
    """Have the broker hang: its connections stay open, and nothing answers."""
    pids = broker.pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_fleet_works_on_while_its_broker_is_away_and_hears_it_when_it_is_back(open_fleet, broker):
    fleet = await open_fleet(broker)
    worker = await fleet.worker()
    await fleet.ended(*await fleet.submit("add", 1))

    await asyncio.to_thread(broker.kill)
    await fleet.ended(*await fleet.submit("add", 2, 3))
    assert await fleet.metric(worker, REPAIRED) == 3
    assert (await fleet.get(worker, "/health/live"))[0] == 200
    await asyncio.to_thread(broker.start)
    await eventually(lambda: fleet.metric_is(worker, "holdfast_broker_connected", 1), "connected")
    await fleet.reconnected()

    await eventually(lambda: comes_by_message(fleet, worker), "messages come again")


async def comes_by_message(fleet, worker) -> bool:
    """Whether a job is heard of by its message, and not found by looking."""
    before = await fleet.metric(worker, REPAIRED)
    await fleet.ended(*await fleet.submit("add", 3))
    return bool(await fleet.metric_is(worker, REPAIRED, before))


async def test_wiped_broker_loses_no_job(open_fleet, broker):
    fleet = await open_fleet(broker)
    worker = await fleet.worker("--concurrency", "1")
    running = await fleet.submit("hold", 4.0)
    waiting = await fleet.submit("add", 1, 5)
    await fleet.until(JobStatus.RUNNING, *running)

    await fleet.wipe("quick", "slow")

    ended = await fleet.ended(*running, *waiting)
    assert {job.status for job in ended} == {JobStatus.COMPLETED}
    await eventually(lambda: comes_by_message(fleet, worker), "messages come again")


async def test_full_worker_leaves_jobs_to_one_with_room(open_fleet, broker):
    fleet = await open_fleet(broker)
    await fleet.worker("--concurrency", "2")
    held = await fleet.submit("hold", 600.0, 2)
    await fleet.until(JobStatus.RUNNING, *held)
    idle = await fleet.worker("--concurrency", "5")

    ended = await fleet.ended(*await fleet.submit("add", 1, 5))

    assert {job.status for job in ended} == {JobStatus.COMPLETED}
    assert await fleet.metric(idle, CLAIMED) == 5


async def test_slot_that_frees_takes_the_most_urgent_job(open_fleet, redis_broker):
    fleet = await open_fleet(redis_broker)
    await fleet.worker("--concurrency", "1")
    (held,) = await fleet.submit("hold", 600.0)
    await fleet.until(JobStatus.RUNNING, held)
    idle = await fleet.submit("add", 1, 3)
    (urgent,) = await fleet.submit("add", 1, priority=9)

    await fleet.client.cancel(held)
    await fleet.ended(urgent, *idle)

    starts = {
        job_id: (await fleet.events(job_id, "attempt.started"))[0].at for job_id in (urgent, *idle)
    }
    assert min(starts, key=lambda job_id: starts[job_id]) == urgent


async def test_terminating_a_task_cancels_its_job_for_good(open_fleet, broker):
    fleet = await open_fleet(broker)
    worker = await fleet.worker()
    (job_id,) = await fleet.submit("hold", 600.0)
    await fleet.until(JobStatus.RUNNING, job_id)

    ((_, (active, *others)),) = (await fleet.control("inspect_active")).items()
    assert (active["name"], active["args"], others) == (RUN_TASK, [job_id], [])
    await fleet.control("revoke", active["id"], terminate=True)
    (job,) = await fleet.ended(job_id)

    assert job.status is JobStatus.CANCELLED
    assert len(await fleet.events(job_id, "job.cancel_requested")) == 1
    await eventually(lambda: fleet.metric_is(worker, "holdfast_jobs_running", 0), "slot is free")
    await eventually(lambda: nothing_active(fleet), "its message is answered")


async def test_pool_grows_and_shrinks_and_tells_about_itself(open_fleet, redis_broker):
    fleet = await open_fleet(redis_broker)
    worker = await fleet.worker("--concurrency", "1")
    job_ids = await fleet.submit("hold", 600.0, 3)
    await fleet.until(JobStatus.RUNNING, *job_ids, count=1)

    await fleet.control("pool_grow", 2)

    async def tells_of_itself() -> bool:
        (stats,) = (await fleet.control("inspect_stats")).values()
        return (stats["pool"]["max-concurrency"], stats["pool"]["running-jobs"]) == (3, 3)

    await fleet.until(JobStatus.RUNNING, *job_ids)
    await eventually(tells_of_itself, "three slots, three jobs")
    await fleet.control("pool_shrink", 2)
    await eventually(lambda: fleet.metric_is(worker, "holdfast_slots", 1), "one slot is left")


async def test_own_tasks_of_a_celery_application_run_beside_the_jobs(open_fleet, redis_broker):
    fleet = await open_fleet(redis_broker)
    await fleet.worker("--queues", "quick", OWN_CELERY="1")
    queue = f"{fleet.app.settings.queue_prefix}quick"

    await asyncio.to_thread(
        fleet.celery.send_task, "shop.note", (str(fleet.folder),), queue=queue, ignore_result=True
    )

    (job,) = await fleet.ended(*await fleet.submit("add", 1))
    await eventually((fleet.folder / "note").exists, "the other task has run")
    assert job.status is JobStatus.COMPLETED


async def test_terminating_another_task_is_answered_and_it_runs_to_its_end(open_fleet, redis_broker):
    """A thread cannot be ended from outside; the order must not fail in the worker, either."""
    fleet = await open_fleet(redis_broker)
    worker = await fleet.worker("--queues", "quick", OWN_CELERY="1")
    queue = f"{fleet.app.settings.queue_prefix}quick"
    sent = await asyncio.to_thread(
        fleet.celery.send_task, "shop.linger", (str(fleet.folder),), queue=queue, ignore_result=True
    )
    await eventually((fleet.folder / "begun").exists, "the other task has begun")

    (answer,) = await fleet.control("revoke", sent.id, terminate=True)

    (told,) = answer.values()
    assert "ok" in told, told
    await worker.says("cannot be terminated")
    (fleet.folder / "go").touch()
    await eventually((fleet.folder / "gone").exists, "the other task has ended")
    (job,) = await fleet.ended(*await fleet.submit("add", 1))
    assert job.status is JobStatus.COMPLETED


@pytest.mark.parametrize("command", ["holdfast", "celery"])
async def test_queue_that_exists_with_other_properties_is_told_at_the_start(
    open_fleet, rabbitmq_server, command
):
    fleet = await open_fleet(rabbitmq_server)
    name = f"{fleet.app.settings.queue_prefix}quick"
    await asyncio.to_thread(declare, fleet.celery, Queue(name, routing_key=name, durable=False))

    if command == "holdfast":
        worker = await fleet.worker("--queues", "quick", ready=False)
    else:
        worker = await fleet.run(
            *("-m", "celery", "-A", "holdfast.worker", "worker", "-Q", name),
            HOLDFAST_APP="tests.fleet.jobs:app",
        )

    assert await worker.end() != 0
    said = "\n".join(worker.said)
    assert f"queue '{name}' exists in the broker with other properties (PRECONDITION_FAILED" in said
    assert "inequivalent arg 'durable'" in said
    assert "Traceback" not in said


def declare(celery, queue):
    with celery.connection_for_write() as connection:
        queue(connection.default_channel).declare()


async def test_celerys_own_command_starts_a_worker(open_fleet, redis_broker):
    fleet = await open_fleet(redis_broker)
    worker = await fleet.run(
        *("-m", "celery", "-A", "holdfast.worker", "worker", "--concurrency", "7"),
        HOLDFAST_APP="tests.fleet.jobs:app",
        HOLDFAST_LOG_LEVEL="info",
    )
    await worker.says("worker started")

    (job,) = await fleet.ended(*await fleet.submit("add", 1))

    assert job.status is JobStatus.COMPLETED
    (stats,) = (await fleet.control("inspect_stats")).values()
    assert stats["pool"]["max-concurrency"] == 7
    worker.signal(signal.SIGTERM)
    assert await worker.end() == 0


async def test_worker_that_cannot_start_says_why_and_ends(open_fleet, redis_broker):
    fleet = await open_fleet(redis_broker)

    worker = await fleet.worker(ready=False, HOLDFAST_STORE=f"sqlite:///{fleet.folder}/absent/jobs.db")

    assert await worker.end() != 0
    said = "\n".join(worker.said)
    assert "absent" in said
    assert "Traceback" not in said


@pytest.mark.slow
async def test_connection_that_goes_dead_without_a_word_is_noticed(open_fleet, redis_broker):
    """Half-open, as after a firewall has forgotten it: no byte comes, no end either."""
    async with Wire(redis_broker.port) as wire:
        fleet = await open_fleet(
            redis_broker, url=redis_broker.url.replace(f":{redis_broker.port}", f":{wire.port}")
        )
        worker = await fleet.worker()
        await fleet.ended(*await fleet.submit("add", 1))

        wire.swallow()
        await fleet.ended(*await fleet.submit("add", 2))
        assert await fleet.metric(worker, REPAIRED) == 1

        await eventually(lambda: comes_by_message(fleet, worker), "messages come again", seconds=60)
        worker.signal(signal.SIGTERM)
        assert await worker.end() == 0


class Wire:
    """Passes bytes on to a port of this machine, and swallows those of present connections if told."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._dead = asyncio.Event()
        self.port = 0

    def swallow(self) -> None:
        """Let all present connections go dead; new ones are alive."""
        self._dead.set()
        self._dead = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dead = self._dead
        there = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(self._pass_on(source, sink, dead))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, dead: asyncio.Event
    ) -> None:
        try:
            while data := await source.read(65_536):
                if not dead.is_set():
                    sink.write(data)
                    await sink.drain()
        except ConnectionError:
            pass  # whoever it was has gone
        finally:
            sink.close()
