"""The seam to what the HTTP service keeps and asks beside jobs: keys, webhooks, and sums for operators.

The promises of `holdfast.store.base` hold here, too: each verb is one transaction, durable once it has
returned, without effect once it has raised.

A webhook hears of the ends of jobs by deliveries, which are jobs themselves. The transaction that ends a
job queues one for each webhook that wants to hear of it: kind and queue `DELIVERY_KIND`, input
`DeliveryInput`, the webhook's tenant, and its id as the subject by which its deliveries are found. A job
that is retried and ends again is told again; ends of Holdfast's own jobs are not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from holdfast.model import Artifact, Budget, BudgetPeriod, Job, JobStatus, SuspendReason, Usage
    from holdfast.store.base import LaneState, WorkerRecord

TENANT_BUDGETS_MAX = 1_000
"""Tenants in a list of budgets, in the order of their names."""

KEYS_MAX = 1_000
"""Keys in force at once: a list of them is one answer, and none is forgotten behind it."""


QUEUED_MAX = 100_000
"""Jobs that are looked at to tell how long the lines are; longer ones are told to be so long."""

SPEND_SLOTS_MAX = 400
"""Spans of time that one question for spend may be cut into."""

SPEND_WINDOW_MAX = timedelta(days=92)
"""How far apart the two moments of a question for spend may be."""

SPEND_ROWS_MAX = 10_000
"""Sums in one answer."""

SpendGroup = Literal["kind", "lane", "model", "tenant"]

WEBHOOKS_MAX = 100
"""Webhooks of one tenant, and as many of all tenants: each end of a job looks at them."""

DELIVERY_KIND = "holdfast.webhook"
"""Kind and queue of the jobs that tell of a job's end."""

DELIVERIES_AT_ONCE = 10
"""Deliveries of one tenant's webhooks that run at once, and as many of those for all tenants: receivers
that hang hold no more slots than these, each until a try has taken too long."""


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
class TenantBudget:
    """What a tenant may spend in a period, and what it has spent in the present one."""

    tenant: str
    period: BudgetPeriod
    budget: Budget
    begins_at: datetime
    """When the present period began."""
    ends_at: datetime
    """When the next begins."""
    used_tokens: int
    """Of calls that have ended since, and the most that uncertain ones can have used."""
    spent_usd: Decimal
    """The same in money; calls of unknown price count nothing."""
    reserved_tokens: int
    """The most that the calls under way can use."""
    reserved_usd: Decimal
    """The same in money."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """A line of jobs, and what became of those that left it for a while."""

    queue: str
    ready: int = 0
    """Could be claimed at once."""
    delayed: int = 0
    """Queued, but not before a later time."""
    held_back: int = 0
    """Queued behind a full concurrency key."""
    running: int = 0
    suspended: Mapping[SuspendReason, int] = field(default_factory=dict)
    oldest_at: datetime | None = None
    """Since when the one waits that has waited longest of those that could be claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """A worker on record, alive or not yet missed."""

    worker: WorkerRecord
    heartbeat_at: datetime
    """When it last gave a sign of life."""
    expires_at: datetime
    """When it counts as lost unless it gives another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneUse:
    """A lane as of a moment: its limits, and how much of them is free."""

    state: LaneState
    requests_free: float
    """Requests that could start now; below zero while a debt is paid off."""
    requests_room: float
    """As many as may gather."""
    tokens_free: float
    tokens_room: float
    processes_waiting: int
    """Worker processes that stand in its line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendQuery:
    """Which calls to add up, and how."""

    since: datetime
    """Calls that ended then or later."""
    until: datetime
    """Calls that ended before."""
    slot: timedelta
    """Length of the spans that are added up each for itself; the first begins at `since`."""
    group: SpendGroup = "kind"
    tenant: str | None = None
    """Only calls of this tenant's jobs."""
    kinds: tuple[str, ...] | None = None
    """Only calls of jobs of these kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What the calls of one group have cost within one span of time."""

    at: datetime
    """When the span begins."""
    name: str | None
    """The kind, lane, model or tenant; None for jobs without a tenant."""
    usage: Usage
    """Calls that ended, what was booked of them, and what those possibly paid twice were reserved at."""


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

    # budgets -----------------------------------------------------------------------------------

    async def set_tenant_budget(self, tenant: str, period: BudgetPeriod, budget: Budget) -> TenantBudget:
        """Replace what a tenant may spend in each period; `Budget()` for any amount.

        Calls of the tenant's jobs are held to it from now on, those under way included if the tenant
        has had a budget before. Appends `budget.changed` to its jobs that are running or suspended;
        those that wait for a budget are due at once.

        Raises:
            InvalidInputError: The name or the budget cannot be stored.
        """
        ...

    async def list_tenant_budgets(self, tenant: str | None = None) -> Sequence[TenantBudget]:
        """Return the budgets of a tenant, or of the first `TENANT_BUDGETS_MAX` tenants that have one."""
        ...

    # artifacts ---------------------------------------------------------------------------------

    async def list_artifacts(self, job_id: str) -> Sequence[Artifact]:
        """Return the files that the job has saved, oldest first; none if there is no such job."""
        ...

    async def find_artifact(self, job_id: str, name: str) -> Artifact | None:
        """Return the file of that name; None if the job has none."""
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

    # for operators -----------------------------------------------------------------------------

    async def list_queues(self, at: datetime) -> Sequence[QueueState]:
        """Return every queue that a job waits for, runs from or is suspended from, by name.

        No more than `QUEUED_MAX` jobs are counted of each sort, first in line first.
        """
        ...

    async def list_workers(self) -> Sequence[WorkerState]:
        """Return the workers on record, by id."""
        ...

    async def list_lanes(self, at: datetime) -> Sequence[LaneUse]:
        """Return the lanes as they are at this moment, by name."""
        ...

    async def sum_spend(self, query: SpendQuery) -> Sequence[Spend]:
        """Return sums over the calls that ended between two moments, in order of time and name.

        Raises:
            InvalidInputError: The window is longer than `SPEND_WINDOW_MAX`, cut into more than
                `SPEND_SLOTS_MAX` spans, or the answer would have more than `SPEND_ROWS_MAX` sums.
        """
        ...
