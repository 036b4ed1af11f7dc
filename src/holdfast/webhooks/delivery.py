"""The job that tells one webhook of one end."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from holdfast.engine.context import JobContext  # noqa: TC001 - read by the registry
from holdfast.errors import JobNotFoundError, WebhookUndeliveredError
from holdfast.model import Concurrency, RetryPolicy
from holdfast.store.service import DELIVERIES_AT_ONCE, DELIVERY_KIND, DeliveryInput
from holdfast.webhooks.addresses import parse_url
from holdfast.webhooks.message import body_of, message_id_of

if TYPE_CHECKING:
    from holdfast.clock import Clock
    from holdfast.engine.registry import Registry
    from holdfast.model import Job
    from holdfast.store.base import Store
    from holdfast.store.service import ServiceStore
    from holdfast.webhooks.sending import Sender

logger = logging.getLogger(__name__)

SCHEDULE = RetryPolicy(
    attempts=10,
    waits_seconds=tuple(
        wait.total_seconds()
        for wait in (
            timedelta(seconds=5),
            timedelta(minutes=5),
            timedelta(minutes=30),
            *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
        )
    ),
    # Each delivery counts from its own first try: they come no thicker than they did then.
    jitter=False,
)
"""Ten tries within a bit more than three days, as Standard Webhooks advises."""

KEEP = timedelta(days=30)
"""How long deliveries stay on record once they have ended."""

MESSAGE_STEP = "message"

_GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """How a delivery ended that need not be tried again."""

    outcome: Literal["delivered", "gone", "webhook_deleted", "job_deleted"]
    """`gone`: the receiver wants to hear nothing more, and its webhook was deleted."""
    status: int | None = None
    """Of the receiver's answer."""


class Courier:
    """What deliveries need: where jobs and webhooks are, and what sends."""

    def __init__(self, store: Store, records: ServiceStore, sender: Sender, clock: Clock) -> None:
        self._store = store
        self._records = records
        self._sender = sender
        self._clock = clock
        # Imported here, for only workers need it, and before the first delivery has to wait for it.
        from holdfast.webhooks.signing import signed_headers

        self._sign = signed_headers

    async def compose(self, delivery: DeliveryInput) -> str | None:
        """Return the message; None if the job has been deleted since."""
        try:
            job = await self._store.get_job(delivery.job_id)
            events = await self._store.read_events(delivery.job_id, after=delivery.seq - 1, limit=1)
        except JobNotFoundError:
            return None
        return body_of(job, events[0])

    async def send(self, delivery: DeliveryInput, message: str) -> Delivered:
        """Try once.

        Raises:
            WebhookRefusedError: Requests must not go there.
            WebhookUndeliveredError: The receiver did not take it.
        """
        webhook_id = delivery.webhook_id
        webhook = await self._records.find_webhook(webhook_id)
        secrets = await self._records.find_webhook_secrets(webhook_id)
        if webhook is None or secrets is None:
            return Delivered(outcome="webhook_deleted")
        headers = self._sign(message_id_of(delivery), message, secrets, self._clock.now())
        answer = await self._sender.post(webhook.url, message.encode(), headers)
        if 200 <= answer.status < 300:
            return Delivered(outcome="delivered", status=answer.status)
        if answer.status == _GONE:
            await self._records.delete_webhook(webhook_id)
            logger.warning("webhook deleted, its receiver is gone", extra={"webhook_id": webhook_id})
            return Delivered(outcome="gone", status=answer.status)
        raise WebhookUndeliveredError(
            f"host {parse_url(webhook.url).host!r} answered {answer.status}",
            status=answer.status,
            retry_after=answer.retry_after,
        )


async def deliver(job: JobContext, delivery: DeliveryInput) -> Delivered:
    """Tell the webhook, again and again by the schedule until it takes it.

    The message is a step of its own: each try sends the same bytes, even if the job is retried or
    deleted meanwhile.
    """
    courier = job.resource(Courier)
    message = await job.step(MESSAGE_STEP, courier.compose, delivery)
    if message is None:
        return Delivered(outcome="job_deleted")
    return await job.step("send", courier.send, delivery, message, retry=SCHEDULE)


def register_deliveries(registry: Registry) -> None:
    """Let workers with this registry run deliveries; they need a `Courier`."""
    registry.reserve(
        DELIVERY_KIND,
        deliver,
        concurrency=Concurrency(limit=DELIVERIES_AT_ONCE, per="tenant"),
        keep=KEEP,
    )


def delivery_input_of(delivery: Job) -> DeliveryInput:
    """Return what a delivery's job is to tell."""
    return msgspec.json.decode(delivery.input, type=DeliveryInput)
