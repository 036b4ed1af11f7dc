"""New webhooks, and new secrets for them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.errors import InvalidInputError
from holdfast.ids import new_id, new_webhook_secret
from holdfast.model import JobStatus
from holdfast.store.base import RESERVED_KIND_PREFIX
from holdfast.store.service import Webhook, WebhookSecrets
from holdfast.webhooks.addresses import check_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from holdfast.webhooks.addresses import Network

ROTATION_OVERLAP = timedelta(hours=24)
"""How long the old secret still signs beside a new one."""

ENDS = tuple(status for status in JobStatus if status.terminal)
KINDS_MAX = 100


def make_webhook(
    url: str,
    *,
    at: datetime,
    tenant: str | None = None,
    kinds: Iterable[str] | None = None,
    statuses: Iterable[JobStatus] | None = None,
    networks: Sequence[Network] = (),
) -> tuple[Webhook, WebhookSecrets]:
    """Return a new webhook and what signs its deliveries, which its receiver has to be given.

    Args:
        url: Where to post.
        at: The present.
        tenant: Whose jobs; those of all tenants by default.
        kinds: Which kinds of jobs; all by default.
        statuses: Which ends; all by default.
        networks: Where requests may go beside public addresses.

    Raises:
        InvalidInputError: It could never be told anything.
    """
    check_url(url, networks)
    wanted_kinds = None if kinds is None else tuple(sorted(set(kinds)))
    wanted = ENDS if statuses is None else tuple(sorted(set(statuses)))
    strange = [status.value for status in wanted if not status.terminal]
    if not wanted or strange:
        raise InvalidInputError(
            f"statuses {strange or list(wanted)!r} of a webhook are not ends of jobs",
            hint=f"choose from {', '.join(ENDS)}",
        )
    if wanted_kinds is not None and not 1 <= len(wanted_kinds) <= KINDS_MAX:
        raise InvalidInputError(
            f"a webhook for {len(wanted_kinds)} kinds of jobs",
            hint=f"name 1 to {KINDS_MAX}, or none at all for every kind",
        )
    if any(kind.startswith(RESERVED_KIND_PREFIX) for kind in wanted_kinds or ()):
        raise InvalidInputError(f"ends of jobs of the kinds {RESERVED_KIND_PREFIX}* are told to nobody")
    webhook = Webhook(
        webhook_id=new_id("wh"),
        tenant=tenant,
        url=url,
        kinds=wanted_kinds,
        statuses=wanted,
        created_at=at,
    )
    return webhook, WebhookSecrets(secret=new_webhook_secret())


def rotated(secrets: WebhookSecrets, at: datetime) -> WebhookSecrets:
    """Return a new secret beside the one in use, which signs for `ROTATION_OVERLAP` more."""
    return WebhookSecrets(
        secret=new_webhook_secret(), old=secrets.secret, old_until=at + ROTATION_OVERLAP
    )
