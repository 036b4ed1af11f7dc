"""Webhooks over HTTP: where the ends of jobs are told, and what became of the telling."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from holdfast.codec import is_storable
from holdfast.errors import AccessDeniedError, JobNotFoundError, WebhookNotFoundError
from holdfast.model import JobStatus
from holdfast.server import examples
from holdfast.server.auth import WebhookOwner
from holdfast.server.problems import NOT_FOUND, ProblemRoute
from holdfast.server.schemas import JobId, Name
from holdfast.server.service import Here, Service
from holdfast.store.service import DELIVERY_KIND
from holdfast.webhooks import delivery_input_of, replay, rotated
from holdfast.webhooks import make_webhook as webhook_for

if TYPE_CHECKING:
    from holdfast.model import Job
    from holdfast.server.access import Principal
    from holdfast.store.service import Webhook, WebhookSecrets

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=ProblemRoute)

Limit = Annotated[int, Query(ge=1, le=1_000, description="At most so many.")]

_SCAN_MAX = 1_000


class NewWebhook(BaseModel):
    """Where to tell, and what."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.NEW_WEBHOOK]})

    url: str = Field(max_length=2_000, examples=["https://shop.example/hooks/holdfast"])
    tenant: Name | None = None
    kinds: list[Name] | None = Field(default=None, min_length=1, max_length=100)
    statuses: list[JobStatus] | None = Field(
        default=None, min_length=1, max_length=10, examples=[["completed", "failed"]]
    )


class WebhookView(BaseModel):
    """A webhook; its secret is shown only when it is made or changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.WEBHOOK]})

    webhook_id: str
    url: str
    tenant: str | None
    kinds: list[str] | None
    statuses: list[JobStatus]
    created_at: datetime


class WebhookMade(WebhookView):
    """A new webhook with its secret, which its receiver needs to check signatures."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.WEBHOOK_MADE]})

    secret: str


class SecretMade(BaseModel):
    """A new secret, and until when the one before signs beside it."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.WEBHOOK_SECRET]})

    secret: str
    old_until: datetime | None


class WebhookList(BaseModel):
    """A page of webhooks."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"webhooks": [examples.WEBHOOK], "next_cursor": None}]}
    )

    webhooks: list[WebhookView]
    next_cursor: str | None


class DeliveryView(BaseModel):
    """One end of a job, told or being told."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.DELIVERY]})

    delivery_id: str
    job_id: str
    event_seq: int
    type: str
    status: JobStatus
    outcome: str | None
    """How it went: delivered, gone, webhook_deleted or job_deleted; null until it has completed."""
    response_status: int | None
    error: str | None
    created_at: datetime
    next_try_at: datetime | None
    finished_at: datetime | None


class DeliveryList(BaseModel):
    """A page of deliveries, newest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"deliveries": [examples.DELIVERY], "next_cursor": None}]}
    )

    deliveries: list[DeliveryView]
    next_cursor: str | None


@router.get("")
async def list_webhooks(
    here: Here, principal: WebhookOwner, cursor: Name | None = None, limit: Limit = 100
) -> WebhookList:
    """Return webhooks in the order in which they were made."""
    seen: list[Webhook] = []
    after = cursor or ""
    while len(seen) <= limit:
        page = await here.records.list_webhooks(tenant=principal.tenant, after=after, limit=_SCAN_MAX)
        seen += [webhook for webhook in page if _sees(principal, webhook)]
        if len(page) < _SCAN_MAX:
            break
        after = page[-1].webhook_id
    more = len(seen) > limit
    shown = [_view_of(webhook) for webhook in seen[:limit]]
    return WebhookList(webhooks=shown, next_cursor=shown[-1].webhook_id if more else None)


@router.post("", status_code=201)
async def make_webhook(
    request: Request, here: Here, principal: WebhookOwner, body: NewWebhook, response: Response
) -> WebhookMade:
    """Tell this URL from now on; the answer holds the secret, which is not shown again."""
    webhook, secrets = webhook_for(
        body.url,
        at=here.clock.now(),
        tenant=_tenant_for(principal, body.tenant),
        kinds=_kinds_for(principal, body.kinds),
        statuses=body.statuses,
        networks=here.options.webhook_networks,
    )
    await here.records.insert_webhook(webhook, secrets)
    response.headers["Location"] = f"{request.url.path.rstrip('/')}/{webhook.webhook_id}"
    return WebhookMade(**_view_of(webhook).model_dump(), secret=secrets.secret)


@router.get("/{webhook_id}", responses=NOT_FOUND)
async def get_webhook(here: Here, principal: WebhookOwner, webhook_id: str) -> WebhookView:
    """Return a webhook without its secret."""
    return _view_of(await _reach(here, principal, webhook_id))


@router.delete("/{webhook_id}", status_code=204, responses=NOT_FOUND)
async def delete_webhook(here: Here, principal: WebhookOwner, webhook_id: str) -> None:
    """Tell it nothing more, not even what is being tried; what it was told stays on record."""
    await _reach(here, principal, webhook_id)
    await here.records.delete_webhook(webhook_id)


@router.post("/{webhook_id}/secret", status_code=201, responses=NOT_FOUND)
async def rotate_secret(here: Here, principal: WebhookOwner, webhook_id: str) -> SecretMade:
    """Make a new secret; for a day deliveries are signed with the old one, too."""
    await _reach(here, principal, webhook_id)
    old = await here.records.find_webhook_secrets(webhook_id)
    if old is None:
        raise WebhookNotFoundError(webhook_id=webhook_id)
    new: WebhookSecrets = rotated(old, here.clock.now())
    await here.records.set_webhook_secrets(webhook_id, new)
    return SecretMade(secret=new.secret, old_until=new.old_until)


@router.get("/{webhook_id}/deliveries", responses=NOT_FOUND)
async def list_deliveries(
    here: Here,
    principal: WebhookOwner,
    webhook_id: str,
    cursor: JobId | None = None,
    limit: Limit = 50,
) -> DeliveryList:
    """Return what this webhook was told and is being told, the latest jobs first."""
    await _reach(here, principal, webhook_id)
    found = await here.records.list_deliveries(webhook_id, before=cursor, limit=limit)
    shown = [delivery_view_of(delivery) for delivery in found]
    return DeliveryList(
        deliveries=shown, next_cursor=shown[-1].delivery_id if len(shown) == limit else None
    )


@router.post("/{webhook_id}/deliveries/{delivery_id}/replay", status_code=202, responses=NOT_FOUND)
async def replay_delivery(
    here: Here, principal: WebhookOwner, webhook_id: str, delivery_id: str
) -> DeliveryView:
    """Tell the same message again, under the same `webhook-id`."""
    await _reach(here, principal, webhook_id)
    found = await here.client.get(delivery_id)
    if found.kind != DELIVERY_KIND or found.subject != webhook_id:
        raise JobNotFoundError(job_id=delivery_id)
    return delivery_view_of(await replay(here.client, delivery_id))


def delivery_view_of(delivery: Job) -> DeliveryView:
    """Return what is shown of a delivery."""
    told = delivery_input_of(delivery)
    end: dict[str, Any] = {} if delivery.output is None else msgspec.json.decode(delivery.output)
    return DeliveryView(
        delivery_id=delivery.job_id,
        job_id=told.job_id,
        event_seq=told.seq,
        type=told.type,
        status=delivery.status,
        outcome=end.get("outcome"),
        response_status=end.get("status"),
        error=None if delivery.error is None else delivery.error.message,
        created_at=delivery.created_at,
        next_try_at=None if delivery.status.terminal else delivery.available_at,
        finished_at=delivery.finished_at,
    )


def _view_of(webhook: Webhook) -> WebhookView:
    return WebhookView(
        webhook_id=webhook.webhook_id,
        url=webhook.url,
        tenant=webhook.tenant,
        kinds=None if webhook.kinds is None else list(webhook.kinds),
        statuses=list(webhook.statuses),
        created_at=webhook.created_at,
    )


async def _reach(here: Service, principal: Principal, webhook_id: str) -> Webhook:
    """Return the webhook if the principal reaches it; which of both is not told."""
    found = await here.records.find_webhook(webhook_id) if is_storable(webhook_id) else None
    if found is None or not _sees(principal, found):
        raise WebhookNotFoundError(webhook_id=webhook_id)
    return found


def _sees(principal: Principal, webhook: Webhook) -> bool:
    """Whether all that the webhook hears of is within the principal's reach."""
    if principal.tenant is not None and webhook.tenant != principal.tenant:
        return False
    return principal.kinds is None or (
        webhook.kinds is not None and principal.kinds.issuperset(webhook.kinds)
    )


def _tenant_for(principal: Principal, wanted: str | None) -> str | None:
    if principal.tenant is None or wanted in (None, principal.tenant):
        return principal.tenant or wanted
    raise AccessDeniedError(name=principal.name, action=f"webhooks of tenant {wanted}")


def _kinds_for(principal: Principal, wanted: list[str] | None) -> list[str] | None:
    if principal.kinds is None:
        return wanted
    beyond = sorted(set(wanted or ()) - principal.kinds)
    if beyond:
        raise AccessDeniedError(name=principal.name, action=f"webhooks of kinds {', '.join(beyond)}")
    return wanted or sorted(principal.kinds)
