"""In a fleet, a delivery is announced at once, by the worker whose job has ended."""

import pytest

from holdfast.engine.worker import Worker
from holdfast.store.service import DELIVERY_KIND
from holdfast.testing.clock import ManualClock
from holdfast.testing.harness import Harness
from holdfast.testing.signals import Mark
from holdfast.webhooks import make_webhook


class Broker:
    """Keeps what was announced."""

    def __init__(self) -> None:
        self.told = Mark()

    async def dispatch(self, dispatches) -> None:
        for dispatch in dispatches:
            self.told.hit(dispatch)


async def nothing(job) -> None:
    pass


@pytest.fixture
async def harness(tmp_path):
    async with Harness(tmp_path, clock=ManualClock()) as harness:
        harness.job("nothing", nothing)
        yield harness


async def test_delivery_is_announced_by_the_worker_whose_job_has_ended(harness):
    webhook, secrets = make_webhook("https://shop.example", at=harness.clock.now())
    await harness.real_store.service.insert_webhook(webhook, secrets)
    broker = Broker()
    worker = Worker(harness.services, harness.registry, broker, offered=True, lease_seconds=1e9)
    harness.workers.append(worker)
    await worker.start()
    job_id = await harness.submit("nothing")

    await worker.offer(job_id)
    announced = await broker.told.wait()

    assert announced.queue == DELIVERY_KIND
    assert harness.clock.monotonic() == 0
