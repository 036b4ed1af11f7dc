"""The seam to what the HTTP service keeps and asks beside jobs: keys, webhooks, and sums for operators.

The promises of `holdfast.store.base` hold here, too: each verb is one transaction, durable once it has
returned, without effect once it has raised.

A webhook hears of the ends of jobs by deliveries, which are jobs themselves. The transaction that ends a
job queues one for each webhook that wants to hear of it: kind and queue `DELIVERY_KIND`, input
`DeliveryInput`. A job that is retried and ends again is told again; ends of Holdfast's own jobs are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from holdfast.model import Job, JobStatus

KEYS_MAX = 1_000
"""Keys in force at once: a list of them is one answer, and none is forgotten behind it."""


WEBHOOKS_MAX = 100
"""Webhooks of one tenant, and as many of all tenants: each end of a job looks at them."""

DELIVERY_KIND = "holdfast.webhook"
"""Kind and queue of the jobs that tell of a job's end."""

DELIVERIES_AT_ONCE = 10
"""Deliveries of one webhook that run at once: a receiver that hangs must not fill all slots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key to the service as stored: who may do what with which jobs."""

    key_id: str
    """Public part, by which it is found, listed and revoked."""
    name: str
    """What people call it."""
    digest: bytes
    """SHA-256 of the whole key; the key itself is nowhere on record."""
    tenant: str | None
    """Whose jobs it reaches; None for those of all tenants."""
    kinds: tuple[str, ...] | None
    """Which kinds of jobs it reaches; None for all."""
    actions: tuple[str, ...]
    """What it may do; the service knows what the words mean."""
    created_at: datetime
    expires_at: datetime | None = None
    """Refused from then on."""
    revoked_at: datetime | None = None
    """Refused since then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where and which ends of jobs are told."""

    webhook_id: str
    tenant: str | None
    """Whose jobs; None for those of all tenants."""
    url: str
    kinds: tuple[str, ...] | None
    """Which kinds of jobs; None for all."""
    statuses: tuple[JobStatus, ...]
    """Which ends."""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSecrets:
    """What a webhook's deliveries are signed with."""

    secret: str
    """`whsec_` and base64."""
    old: str | None = None
    """The one before, which signs, too, until the receiver has changed over."""
    old_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryInput:
    """The input of a delivery: what to tell whom, without any content of the job."""

    webhook_id: str
    job_id: str
    seq: int
    """Number of the event that ended the job."""
    type: str
    """Of that event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a job's log of events goes."""

    event_seq: int
    """Number of its last event."""
    status: JobStatus


class ServiceStore(Protocol):
    """What the service needs of the store beside `holdfast.store.base.Store`."""

    # keys --------------------------------------------------------------------------------------

    async def insert_key(self, key: ApiKey) -> None:
        """Keep a new key.

        Raises:
            InvalidInputError: Its id is taken, or there are `KEYS_MAX` keys in force.
        """
        ...

    async def find_key(self, key_id: str) -> ApiKey | None:
        """Return the key, in force or not; None if there is none with this id."""
        ...

    async def list_keys(self) -> Sequence[ApiKey]:
        """Return the keys that are not revoked, oldest first."""
        ...

    async def revoke_key(self, key_id: str, at: datetime) -> bool:
        """Refuse a key from now on; whether there was one to refuse."""
        ...

    # webhooks ----------------------------------------------------------------------------------

    async def insert_webhook(self, webhook: Webhook, secrets: WebhookSecrets) -> None:
        """Tell this webhook from now on.

        Raises:
            InvalidInputError: Its id is taken, or its tenant has `WEBHOOKS_MAX` already.
        """
        ...

    async def find_webhook(self, webhook_id: str) -> Webhook | None:
        """Return the webhook; None if there is none with this id."""
        ...

    async def list_webhooks(
        self, *, tenant: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Webhook]:
        """Return webhooks by id, those whose id sorts after `after`; of one tenant, or of all."""
        ...

    async def find_webhook_secrets(self, webhook_id: str) -> WebhookSecrets | None:
        """Return what signs the webhook's deliveries; None if there is no such webhook.

        Raises:
            SealedValueError: It is sealed, and its key is not here.
        """
        ...

    async def set_webhook_secrets(self, webhook_id: str, secrets: WebhookSecrets) -> bool:
        """Sign with these from now on; whether there was such a webhook."""
        ...

    async def delete_webhook(self, webhook_id: str) -> bool:
        """Tell it nothing more; whether there was such a webhook. Its deliveries stay on record."""
        ...

    async def list_deliveries(
        self, webhook_id: str, *, before: str | None = None, limit: int = 50
    ) -> Sequence[Job]:
        """Return the jobs that tell this webhook, newest first, those whose id sorts before `before`."""
        ...

    # streams -----------------------------------------------------------------------------------

    async def find_positions(self, job_ids: Sequence[str]) -> Mapping[str, Position]:
        """Return how far the logs of these jobs go; a job that does not exist is left out.

        One look for all that a process follows, so that thousands of streams cost no more than news.
        """
        ...
