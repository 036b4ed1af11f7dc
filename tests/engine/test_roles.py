from datetime import timedelta

import pytest

from holdfast.engine.roles import RESCUE_INTERVAL_SECONDS, WAKE_INTERVAL_SECONDS, Rescuer, Waker
from holdfast.errors import DispatchError, StoreUnavailableError
from holdfast.model import JobStatus
from holdfast.testing.faults import Fault


class Announcements:
    def __init__(self):
        self.job_ids = []
        self.broken = False

    async def dispatch(self, dispatches):
        if self.broken:
            raise DispatchError("broker away")
        self.job_ids.extend(each.job_id for each in dispatches)


@pytest.fixture
def announced():
    return Announcements()


async def work(job):
    pass


async def test_waker_announces_a_job_whose_hint_was_lost(idle, announced):
    idle.job("work", work)
    job_id = await idle.submit("work")
    waker = Waker(idle.store, announced, idle.clock)

    assert await waker.work() == WAKE_INTERVAL_SECONDS
    assert announced.job_ids == []
    idle.clock.advance(11)
    await waker.work()

    assert announced.job_ids == [job_id]


async def test_waker_returns_in_time_for_what_falls_due(idle, announced):
    idle.job("work", work)
    job_id = await idle.submit("work", delay=timedelta(seconds=2))
    waker = Waker(idle.store, announced, idle.clock)

    assert await waker.work() == 2
    idle.clock.advance(2)
    await waker.work()

    assert announced.job_ids == [job_id]


@pytest.mark.parametrize("broken", ["store", "dispatch"])
async def test_waker_goes_on_after_trouble(idle, announced, broken, caplog):
    idle.job("work", work)
    await idle.submit("work")
    idle.clock.advance(11)
    announced.broken = broken == "dispatch"
    if broken == "store":
        idle.faults.add(Fault(verb="wake_jobs", action=StoreUnavailableError("away")))

    assert await Waker(idle.store, announced, idle.clock).work() == WAKE_INTERVAL_SECONDS
    assert "waking failed" in caplog.text


async def test_rescuer_queues_and_announces_the_jobs_of_a_lost_worker(idle, announced):
    from holdfast.testing.signals import Gate

    gate = Gate()

    async def waits(job):
        await gate.through()

    idle.job("work", waits)
    worker = await idle.start_worker()
    job_id = await idle.submit("work")
    await gate.reached.wait()
    await idle.abandon(worker)
    rescuer = Rescuer(idle.store, announced, idle.clock)
    assert await rescuer.work() == RESCUE_INTERVAL_SECONDS
    assert announced.job_ids == []
    idle.clock.advance(11)
    await rescuer.work()

    job = await idle.client.get(job_id)
    assert (announced.job_ids, job.status, job.lost_workers, job.attempt) == (
        [job_id],
        JobStatus.QUEUED,
        1,
        0,
    )


async def test_rescuer_goes_on_after_trouble(idle, announced, caplog):
    idle.faults.add(Fault(verb="rescue_jobs", action=StoreUnavailableError("away")))

    assert await Rescuer(idle.store, announced, idle.clock).work() == RESCUE_INTERVAL_SECONDS
    assert "rescue failed" in caplog.text
