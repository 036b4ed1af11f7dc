"""Signatures of deliveries, as Standard Webhooks has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from standardwebhooks import Webhook as Signer

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.store.service import WebhookSecrets


def signed_headers(message_id: str, body: str, secrets: WebhookSecrets, at: datetime) -> dict[str, str]:
    """Return id, time and signature of a request; until a changed secret is old, both sign."""
    signing = [secrets.secret]
    if secrets.old is not None and secrets.old_until is not None and at < secrets.old_until:
        signing.append(secrets.old)
    at = at.replace(microsecond=0)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": f"{at.timestamp():.0f}",
        "webhook-signature": " ".join(Signer(secret).sign(message_id, at, body) for secret in signing),
    }
