"""Deliveries from the end of a job to a real receiver, checked by the package that receivers use."""

import asyncio
import itertools
import json
from datetime import timedelta

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from holdfast import FatalError, JobContext
from holdfast.errors import (
    JobNotFinishedError,
    JobNotFoundError,
    LeaseLost,
    StoreUnavailableError,
    UnknownJobKindError,
)
from holdfast.model import Job, JobStatus, SuspendReason
from holdfast.store.base import JobQuery, PruneRequest
from holdfast.store.service import DELIVERIES_AT_ONCE, DELIVERY_KIND, WebhookSecrets
from holdfast.testing.clock import ManualClock
from holdfast.testing.faults import Fault
from holdfast.testing.harness import Harness
from holdfast.webhooks import Courier, make_webhook, register_deliveries, replay, rotated
from holdfast.webhooks.delivery import SCHEDULE
from tests.webhooks.conftest import LOOPBACK, answer

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def greet(job: JobContext, name: str) -> str:
    return await job.step("greet", str.upper, name)


async def fail(job: JobContext, name: str) -> str:
    raise FatalError(f"{name} is unknown")


class Lab:
    """A harness whose workers deliver to the receiver."""

    def __init__(self, harness: Harness, receiver) -> None:
        self.harness = harness
        self.receiver = receiver
        self.records = harness.real_store.service
        self.secrets = WebhookSecrets(secret=OLD)
        self.webhook_id = ""

    async def subscribe(self, **options) -> str:
        webhook, self.secrets = make_webhook(
            self.receiver.url, at=self.harness.clock.now(), networks=LOOPBACK, **options
        )
        await self.records.insert_webhook(webhook, self.secrets)
        self.webhook_id = webhook.webhook_id
        return webhook.webhook_id

    async def delivery(self, *statuses: JobStatus):
        """Return the latest delivery once it is in one of the statuses, a terminal one by default."""
        found: list[Job] = []
        await eventually_async(self._deliveries, found)
        return await self.harness.until(
            found[0].job_id, *(statuses or (JobStatus.COMPLETED, JobStatus.FAILED))
        )

    async def _deliveries(self):
        return await self.harness.store.list_jobs(JobQuery(kind=DELIVERY_KIND))

    def verified(self, number: int = -1, secret: str | None = None):
        """Return the content of a request whose signature is good."""
        request = self.receiver.requests[number]
        return Verifier(secret or self.secrets.secret).verify(request.body, request.headers)


async def eventually_async(find, found: list[Job]) -> None:
    async with asyncio.timeout(10):
        while not found:
            found += await find()
            await asyncio.sleep(0)


@pytest.fixture
def open_lab(tmp_path, receiver, make_sender):
    """Open a lab on a clock."""

    class Opened:
        def __init__(self, clock=None) -> None:
            self.harness = Harness(tmp_path, clock=clock)

        async def __aenter__(self) -> Lab:
            harness = await self.harness.__aenter__()
            harness.job("greet", greet)
            harness.job("fail", fail)
            register_deliveries(harness.registry)
            harness.services.resources[Courier] = Courier(
                harness.store,
                harness.real_store.service,
                make_sender(harness.clock),
                harness.clock,
            )
            return Lab(harness, receiver)

        async def __aexit__(self, *error) -> None:
            await self.harness.__aexit__(*error)

    return Opened


@pytest.fixture
async def lab(open_lab):
    async with open_lab() as lab:
        yield lab


async def test_completed_job_is_told_and_verified_by_the_official_package(lab):
    await lab.subscribe()
    await lab.harness.start_worker()
    job_id = await lab.harness.submit("greet", "ada", tenant="shop")
    job = await lab.harness.end_of(job_id)

    delivery = await lab.delivery()

    assert json.loads(delivery.output or b"") == {"outcome": "delivered", "status": 200}
    [request] = lab.receiver.requests
    shown = lab.verified()
    assert request.headers["webhook-id"].startswith("msg_")
    ended = (await lab.harness.store.read_events(job_id))[-1]
    at = ended.at.isoformat().replace("+00:00", "Z")
    created = job.created_at.isoformat().replace("+00:00", "Z")
    assert shown == {
        "type": "job.completed",
        "timestamp": at,
        "data": {
            "job_id": job_id,
            "kind": "greet",
            "status": "completed",
            "tenant": "shop",
            "created_at": created,
            "finished_at": at,
            "usage": {"calls": 0, "input_tokens": 0, "output_tokens": 0, "usd": "0"},
        },
    }
    assert b"ADA" not in request.body
    assert b"ada" not in request.body


async def test_failed_job_is_told_with_the_code_and_not_the_words_of_its_error(lab):
    await lab.subscribe(statuses=(JobStatus.FAILED,))
    await lab.harness.start_worker()
    await lab.harness.end_of(await lab.harness.submit("greet", "ada"))
    await lab.harness.end_of(await lab.harness.submit("fail", "Ada Example"))

    await lab.delivery()

    [request] = lab.receiver.requests
    shown = lab.verified()
    assert (shown["type"], shown["data"]["status"]) == ("job.failed", "failed")
    assert shown["data"]["error_code"] == "fatal"
    assert b"Ada" not in request.body


async def test_cancelled_job_that_was_never_run_is_told(lab):
    await lab.subscribe()
    job_id = await lab.harness.submit("greet", "ada")
    await lab.harness.client.cancel(job_id)

    await lab.harness.start_worker()
    await lab.delivery()

    shown = lab.verified()
    assert (shown["type"], shown["data"]["job_id"]) == ("job.cancelled", job_id)


async def test_changed_body_or_secret_is_noticed(lab):
    await lab.subscribe()
    await lab.harness.start_worker()
    await lab.harness.run("greet", "ada")
    await lab.delivery()
    [request] = lab.receiver.requests

    with pytest.raises(WebhookVerificationError):
        lab.verified(secret=OLD)
    with pytest.raises(WebhookVerificationError):
        Verifier(lab.secrets.secret).verify(request.body + b" ", request.headers)


async def test_old_secret_signs_beside_the_new_one_until_it_is_old(lab):
    webhook_id = await lab.subscribe()
    old, now = lab.secrets, lab.harness.clock.now()
    new = rotated(old, now)
    await lab.records.set_webhook_secrets(webhook_id, new)
    await lab.harness.start_worker()
    await lab.harness.run("greet", "ada")
    await lab.delivery()

    assert lab.verified(secret=old.secret) == lab.verified(secret=new.secret)

    await lab.records.set_webhook_secrets(webhook_id, rotated(new, now - timedelta(hours=25)))
    await lab.harness.run("greet", "bob")
    await lab.receiver.received.wait(2)
    with pytest.raises(WebhookVerificationError):
        lab.verified(secret=new.secret)


async def test_dropped_request_is_sent_again_with_the_same_id_and_bytes(lab):
    async def drop(_request, _writer):
        return

    await lab.subscribe()
    lab.receiver.behaviours += [drop]
    await lab.harness.start_worker()
    await lab.harness.run("greet", "ada")

    delivery = await lab.delivery()

    first, second = lab.receiver.requests
    assert delivery.status is JobStatus.COMPLETED
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


async def test_tries_keep_to_the_schedule_and_hold_no_slot_while_they_wait(open_lab):
    """Ten tries, the waits between them as Standard Webhooks advises, then the delivery has failed."""
    clock = ManualClock()
    async with open_lab(clock) as lab:
        await lab.subscribe()
        lab.receiver.behaviours += [answer(status) for status in (500, 404, 301, 400, 429)] * 2
        worker = await lab.harness.start_worker(lease_seconds=1e9)
        await lab.harness.run("greet", "ada")
        began, times = clock.now(), []
        for number in range(1, SCHEDULE.attempts + 1):
            await lab.receiver.received.wait(number)
            times.append(clock.now() - began)
            if number == 1:
                # Short enough to be waited for in the slot.
                running = await lab.delivery(JobStatus.RUNNING)
                await lab.harness.event(running.job_id, "step.retrying")
                clock.advance(SCHEDULE.waits_seconds[0])
            elif number < SCHEDULE.attempts:
                delivery = await lab.delivery(JobStatus.SUSPENDED)
                assert delivery.suspend_reason is SuspendReason.SLEEP
                assert worker.running == 0
                clock.advance(SCHEDULE.waits_seconds[number - 1])

        failed = await lab.delivery(JobStatus.FAILED)

        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert [wait.total_seconds() for wait in waits] == list(SCHEDULE.waits_seconds)
        assert times[-1] == timedelta(hours=75, minutes=35, seconds=5)
        assert failed.error is not None
        assert "answered 429" in failed.error.message
        assert len({request.headers["webhook-id"] for request in lab.receiver.requests}) == 1
        assert len({request.headers["webhook-timestamp"] for request in lab.receiver.requests}) == 10


async def test_retry_after_lengthens_a_wait(open_lab):
    clock = ManualClock()
    async with open_lab(clock) as lab:
        await lab.subscribe()
        lab.receiver.behaviours.append(answer(503, retry_after="7200"))
        await lab.harness.start_worker(lease_seconds=1e9)
        await lab.harness.run("greet", "ada")

        delivery = await lab.delivery(JobStatus.SUSPENDED)

        assert delivery.available_at is not None
        assert delivery.available_at - clock.now() == timedelta(hours=2)


async def test_receiver_that_is_gone_is_told_nothing_more(lab, caplog):
    webhook_id = await lab.subscribe()
    lab.receiver.behaviours.append(answer(410))
    await lab.harness.start_worker()
    await lab.harness.run("greet", "ada")

    delivery = await lab.delivery()
    await lab.harness.run("greet", "bob")

    assert json.loads(delivery.output or b"") == {"outcome": "gone", "status": 410}
    assert await lab.records.find_webhook(webhook_id) is None
    assert len(await lab._deliveries()) == 1
    assert "webhook deleted, its receiver is gone" in caplog.messages


async def test_delivery_of_a_webhook_deleted_meanwhile_ends_quietly(lab):
    webhook_id = await lab.subscribe()
    await lab.harness.client.cancel(await lab.harness.submit("greet", "ada"))
    await lab.records.delete_webhook(webhook_id)

    await lab.harness.start_worker()

    delivery = await lab.delivery()
    assert json.loads(delivery.output or b"") == {"outcome": "webhook_deleted", "status": None}
    assert lab.receiver.requests == []


async def test_deleted_job_is_told_of_no_more(lab):
    await lab.subscribe()
    job_id = await lab.harness.submit("greet", "ada", subject="guest-1")
    await lab.harness.client.cancel(job_id)
    await lab.harness.store.prune_jobs(PruneRequest(subject="guest-1"))

    await lab.harness.start_worker()

    delivery = await lab.delivery()
    assert json.loads(delivery.output or b"") == {"outcome": "job_deleted", "status": None}
    assert lab.receiver.requests == []


async def test_receiver_that_hangs_holds_only_so_many_slots(lab):
    opened = asyncio.Event()

    async def hang(request, writer):
        await opened.wait()
        await answer()(request, writer)

    await lab.subscribe()
    lab.receiver.behaviours += [hang] * (DELIVERIES_AT_ONCE + 2)
    await lab.harness.start_worker(slots=DELIVERIES_AT_ONCE + 2)
    for number in range(DELIVERIES_AT_ONCE + 2):
        await lab.harness.run("greet", f"guest {number}")
    await lab.receiver.received.wait(DELIVERIES_AT_ONCE)

    assert await lab.harness.run("greet", "ada") == "ADA"
    assert lab.receiver.received.count == DELIVERIES_AT_ONCE

    opened.set()
    await lab.receiver.received.wait(DELIVERIES_AT_ONCE + 3)


async def test_worker_that_dies_before_the_delivery_leaves_it_to_the_next(lab):
    """The end of the job is on record, and the worker dies before it knows: told all the same."""
    await lab.subscribe()
    lab.harness.faults.add(Fault(action=LeaseLost("gone"), verb="settle_attempt", when="after"))
    first = await lab.harness.start_worker(queues=("greet",))
    await lab.harness.end_of(await lab.harness.submit("greet", "ada"))
    await lab.harness.abandon(first)
    assert lab.receiver.requests == []

    await lab.harness.start_worker()
    await lab.delivery()

    assert lab.verified()["type"] == "job.completed"


async def test_answer_that_was_not_recorded_has_the_message_told_again(lab):
    """At least once, and the same id, by which the receiver knows it."""
    await lab.subscribe()
    lab.harness.faults.add(
        Fault(
            action=LeaseLost("gone"),
            verb="put_checkpoint",
            matches=lambda _lease, checkpoint, _events: checkpoint.key == "send",
        )
    )
    first = await lab.harness.start_worker()
    await lab.harness.run("greet", "ada")
    await lab.receiver.received.wait()
    await lab.harness.abandon(first)

    await lab.harness.store.release_worker(first.worker_id)
    await lab.harness.start_worker()
    await lab.delivery()

    first_told, again = lab.receiver.requests
    assert first_told.headers["webhook-id"] == again.headers["webhook-id"]
    assert first_told.body == again.body


async def test_store_in_trouble_costs_no_try(lab):
    await lab.subscribe()
    lab.harness.faults.add(Fault(action=StoreUnavailableError("away"), verb="put_checkpoint", times=2))
    await lab.harness.start_worker()
    await lab.harness.run("greet", "ada")

    delivery = await lab.delivery()

    assert delivery.status is JobStatus.COMPLETED
    assert len(lab.receiver.requests) == 1


# --- told once more ----------------------------------------------------------------------------


async def test_failed_delivery_is_replayed_by_a_retry(open_lab):
    clock = ManualClock()
    async with open_lab(clock) as lab:
        await lab.subscribe()
        await lab.harness.start_worker(lease_seconds=1e9)
        lab.receiver.behaviours.append(answer(500, retry_after="3600"))
        await lab.harness.run("greet", "ada")
        waiting = await lab.delivery(JobStatus.SUSPENDED)
        with pytest.raises(JobNotFinishedError):
            await replay(lab.harness.client, waiting.job_id)
        await lab.harness.client.cancel(waiting.job_id)

        again = await replay(lab.harness.client, waiting.job_id)

        assert again.job_id == waiting.job_id
        ended = await lab.harness.end_of(again.job_id)
        assert ended.status is JobStatus.COMPLETED
        first, second = lab.receiver.requests
        assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_completed_delivery_is_replayed_by_a_copy_with_the_same_message(lab):
    await lab.subscribe()
    await lab.harness.start_worker()
    await lab.harness.run("greet", "ada")
    delivery = await lab.delivery()

    again = await replay(lab.harness.client, delivery.job_id)

    assert again.job_id != delivery.job_id
    assert (await lab.harness.end_of(again.job_id)).status is JobStatus.COMPLETED
    first, second = lab.receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert len(await lab.records.list_deliveries(lab.webhook_id)) == 2


async def test_other_jobs_are_no_deliveries_to_replay(lab):
    job_id = await lab.harness.submit("greet", "ada")

    with pytest.raises(JobNotFoundError):
        await replay(lab.harness.client, job_id)


async def test_nobody_submits_or_makes_up_deliveries(lab):
    """Otherwise one tenant could have another's jobs told to itself."""
    await lab.subscribe()
    await lab.harness.start_worker()
    await lab.harness.run("greet", "ada")
    delivery = await lab.delivery()
    made_up = {"webhook_id": lab.webhook_id, "job_id": "job_of_others", "seq": 1, "type": "job.failed"}

    for attempt in (
        lab.harness.client.submit(DELIVERY_KIND, made_up),
        lab.harness.client.fork(delivery.job_id, value=made_up),
    ):
        with pytest.raises(UnknownJobKindError):
            await attempt
