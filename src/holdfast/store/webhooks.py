"""Statements on webhooks: who hears of the ends of jobs, and what they were told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import InvalidInputError
from holdfast.model import JobStatus
from holdfast.store.jobs import job_of_joined
from holdfast.store.rows import (
    JOB_SQL,
    PAYLOAD_SQL,
    encode_json,
    micros,
    moment,
    optional_moment,
)
from holdfast.store.service import DELIVERY_KIND, WEBHOOKS_MAX, Webhook, WebhookSecrets

if TYPE_CHECKING:
    from holdfast.model import Job
    from holdfast.store.rows import Row
    from holdfast.store.sealed_values import Sealer
    from holdfast.store.transaction import Connection, Transaction

_SQL = "webhook_id, tenant, url, kinds, statuses, created_at"
_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_statuses = msgspec.json.Decoder(tuple[JobStatus, ...]).decode

LIST_MAX = 1_000
"""Webhooks or deliveries that one call may ask for."""


class _Secrets(msgspec.Struct, omit_defaults=True):
    """Secrets at rest."""

    secret: str
    old: str | None = None
    old_until: int | None = None


_decode_secrets = msgspec.json.Decoder(_Secrets).decode
_SEALED_FIELD = "webhook secret"

_DELIVERIES = (
    f"SELECT {JOB_SQL}, {PAYLOAD_SQL} FROM jobs JOIN payloads ON payloads.job = jobs.id"
    # The kind is no use to find them by: it would be all deliveries, of whatever webhook.
    f" WHERE subject = ? AND kind || '' = '{DELIVERY_KIND}'%s ORDER BY job_id DESC LIMIT ?"
)


def insert_webhook(tx: Transaction, webhook: Webhook, secrets: WebhookSecrets, sealer: Sealer) -> None:
    """See `ServiceStore.insert_webhook`."""
    tx.serialize("webhooks")
    owned, arguments = _of_tenant(webhook.tenant)
    count = tx.execute(f"SELECT COUNT(*) FROM webhooks WHERE {owned}", arguments).fetchone()[0]
    if count >= WEBHOOKS_MAX:
        raise InvalidInputError(
            f"webhook {webhook.webhook_id!r} would be one of more than {WEBHOOKS_MAX} of its tenant",
            hint="delete those that nobody needs",
        )
    written = tx.execute(
        f"INSERT INTO webhooks ({_SQL}, secret) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            *(webhook.webhook_id, webhook.tenant, webhook.url),
            None if webhook.kinds is None else encode_json(webhook.kinds),
            *(encode_json(webhook.statuses), micros(webhook.created_at)),
            _at_rest(webhook.webhook_id, secrets, sealer),
        ),
    )
    if not written.rowcount:
        raise InvalidInputError(
            f"webhook id {webhook.webhook_id!r} is taken", hint="make another webhook"
        )


def find_webhook(connection: Connection, webhook_id: str) -> Webhook | None:
    """See `ServiceStore.find_webhook`."""
    row = connection.execute(
        f"SELECT {_SQL} FROM webhooks WHERE webhook_id = ?", (webhook_id,)
    ).fetchone()
    return None if row is None else _webhook_from(row)


def list_webhooks(connection: Connection, tenant: str | None, after: str, limit: int) -> list[Webhook]:
    """See `ServiceStore.list_webhooks`."""
    _check_limit(limit)
    owned, arguments = ("1 = 1", ()) if tenant is None else _of_tenant(tenant)
    rows = connection.execute(
        f"SELECT {_SQL} FROM webhooks WHERE {owned} AND webhook_id > ? ORDER BY webhook_id LIMIT ?",
        (*arguments, after, limit),
    )
    return [_webhook_from(row) for row in rows]


def find_webhook_secrets(
    connection: Connection, webhook_id: str, sealer: Sealer
) -> WebhookSecrets | None:
    """See `ServiceStore.find_webhook_secrets`."""
    row = connection.execute(
        "SELECT secret FROM webhooks WHERE webhook_id = ?", (webhook_id,)
    ).fetchone()
    if row is None:
        return None
    kept = _decode_secrets(sealer.open_json(bytes(row[0]), _SEALED_FIELD, webhook_id))
    return WebhookSecrets(secret=kept.secret, old=kept.old, old_until=optional_moment(kept.old_until))


def set_webhook_secrets(
    tx: Transaction, webhook_id: str, secrets: WebhookSecrets, sealer: Sealer
) -> bool:
    """See `ServiceStore.set_webhook_secrets`."""
    written = tx.execute(
        "UPDATE webhooks SET secret = ? WHERE webhook_id = ?",
        (_at_rest(webhook_id, secrets, sealer), webhook_id),
    )
    return bool(written.rowcount)


def delete_webhook(tx: Transaction, webhook_id: str) -> bool:
    """See `ServiceStore.delete_webhook`."""
    return bool(tx.execute("DELETE FROM webhooks WHERE webhook_id = ?", (webhook_id,)).rowcount)


def list_deliveries(
    connection: Connection, webhook_id: str, before: str | None, limit: int
) -> list[Job]:
    """See `ServiceStore.list_deliveries`."""
    _check_limit(limit)
    condition, bound = ("", ()) if before is None else (" AND job_id < ?", (before,))
    rows = connection.execute(_DELIVERIES % condition, (webhook_id, *bound, limit))
    return [job_of_joined(row) for row in rows]


def _of_tenant(tenant: str | None) -> tuple[str, tuple[str, ...]]:
    # Two texts, because no index serves a comparison with IS.
    return ("tenant IS NULL", ()) if tenant is None else ("tenant = ?", (tenant,))


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= LIST_MAX:
        raise InvalidInputError(f"limit {limit!r} of a list must be 1 to {LIST_MAX}")


def _at_rest(webhook_id: str, secrets: WebhookSecrets, sealer: Sealer) -> bytes:
    until = None if secrets.old_until is None else micros(secrets.old_until)
    text = encode_json(_Secrets(secret=secrets.secret, old=secrets.old, old_until=until))
    return sealer.seal_json(text, _SEALED_FIELD, webhook_id)


def _webhook_from(row: Row) -> Webhook:
    webhook_id, tenant, url, kinds, statuses, created_at = row
    return Webhook(
        webhook_id=webhook_id,
        tenant=tenant,
        url=url,
        kinds=None if kinds is None else _decode_names(kinds),
        statuses=_decode_statuses(statuses),
        created_at=moment(created_at),
    )
