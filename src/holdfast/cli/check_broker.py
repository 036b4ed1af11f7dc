"""The broker: is there one, and does it let us in?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.cli.finding import Finding
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.settings import Settings

_AREA = "storage"


async def broker(settings: Settings) -> Finding:
    """Connect to the broker that the settings name."""
    if settings.broker is None:
        return Finding(_AREA, "broker", "ok", "none; workers look into the store")
    from holdfast.wiring.opening import celery_dispatch

    try:
        app = celery_dispatch().celery_app(settings.broker.get_secret_value())
        from holdfast.dispatch.celery_broker import check_broker

        await asyncio.to_thread(check_broker, app)
    except HoldfastError as error:
        return Finding(_AREA, "broker", "problem", error.message, error.hint)
    return Finding(_AREA, "broker", "ok", "answers, and lets us in")
