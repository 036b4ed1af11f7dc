"""Settings become what deliveries of webhooks need."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

from holdfast.webhooks.delivery import Courier, register_deliveries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.clock import Clock
    from holdfast.engine.registry import Registry
    from holdfast.settings import Settings
    from holdfast.wiring.opening import Opened


def register_own_kinds(registry: Registry) -> None:
    """Let workers run Holdfast's own jobs, as far as what they need is installed."""
    if _can_deliver():
        register_deliveries(registry)


@contextlib.asynccontextmanager
async def open_courier(
    settings: Settings, opened: Opened, clock: Clock
) -> AsyncIterator[dict[type, object]]:
    """Give what deliveries ask for by type.

    Raises:
        ConfigError: The networks in the settings cannot be read.
    """
    networks = settings.webhook_network_list
    if not _can_deliver():
        yield {}
        return
    # Imported here: a program that only submits need not load an HTTP client.
    from holdfast.webhooks.sending import Sender

    sender = Sender(clock, networks=networks)
    try:
        yield {Courier: Courier(opened.store, opened.service, sender, clock)}
    finally:
        sender.close()


def _can_deliver() -> bool:
    """Whether the extra `holdfast[server]` is installed; a worker without it leaves deliveries alone."""
    return find_spec("standardwebhooks") is not None
