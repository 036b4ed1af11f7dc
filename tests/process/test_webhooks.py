"""A worker dies by SIGKILL between the end of a job and its delivery: it is told all the same."""

import asyncio
import json
import signal

import pytest
from standardwebhooks import Webhook as Verifier

from holdfast.model import JobStatus
from holdfast.store.base import JobQuery
from holdfast.store.service import DELIVERY_KIND
from tests.process.conftest import Open, Place, eventually
from tests.webhooks.conftest import Receiver, answer, serving

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


async def subscribe(place: Place, url: str) -> str:
    """Add a webhook as people do and return its secret."""
    process = await place.holdfast("webhooks", "add", url, "--kind", "ask")
    assert process.process.stdout is not None
    secret = (await process.process.stdout.read()).decode().strip()
    assert await process.end() == 0, process.said
    return secret


async def delivered(place: Place) -> str:
    """Return the id of the one delivery once it has completed."""

    async def found() -> str | None:
        [delivery] = await place.client.list(JobQuery(kind=DELIVERY_KIND))
        return delivery.job_id if delivery.status is JobStatus.COMPLETED else None

    return str(await eventually(found, "the delivery"))


@pytest.fixture
async def receiver():
    """Without TLS, in a network that is allowed: the worker is another process, with its own trust."""
    receiver = Receiver()
    async with serving(receiver):
        yield receiver


async def test_worker_killed_before_the_delivery_began(open_place: Open, receiver: Receiver):
    place = await open_place(latency=0.05, lease_seconds=1.0)
    place.environment["HOLDFAST_WEBHOOK_NETWORKS"] = "127.0.0.0/8"
    secret = await subscribe(place, f"http://127.0.0.1:{receiver.port}/hooks")
    worker = await place.worker("--queues", "ask")
    job_id = await place.ask("job", count=1)
    await place.ended(job_id)
    worker.signal(signal.SIGKILL)
    await worker.end()
    assert receiver.requests == []

    await place.worker()
    await delivered(place)

    [request] = receiver.requests
    shown = Verifier(secret).verify(request.body, request.headers)
    assert (shown["type"], shown["data"]["job_id"]) == ("job.completed", job_id)
    assert shown["data"]["usage"]["calls"] == 1


async def test_worker_killed_while_the_receiver_answers(open_place: Open, receiver: Receiver):
    """Nobody knows whether it was taken: it is told again, under the id that the receiver knows."""

    async def hang(_request, _writer):
        await asyncio.Event().wait()

    receiver.behaviours += [hang, answer(202)]
    place = await open_place(latency=0.05, lease_seconds=1.0)
    place.environment["HOLDFAST_WEBHOOK_NETWORKS"] = "127.0.0.0/8"
    secret = await subscribe(place, f"http://127.0.0.1:{receiver.port}/hooks")
    worker = await place.worker()
    await place.ended(await place.ask("job", count=1))
    await receiver.received.wait()
    worker.signal(signal.SIGKILL)
    await worker.end()

    await place.worker()
    delivery_id = await delivered(place)

    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    for request in (first, second):
        Verifier(secret).verify(request.body, request.headers)
    output = (await place.client.get(delivery_id)).output
    assert json.loads(output or b"") == {"outcome": "delivered", "status": 202}
