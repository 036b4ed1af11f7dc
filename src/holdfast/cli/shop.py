"""The shop of the application, for commands of its operators."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.apps.reports.orders.shop import Shop
    from holdfast.cli.session import Session


@contextlib.asynccontextmanager
async def open_shop(session: Session) -> AsyncIterator[Shop]:
    """Give the shop of the application that the settings choose.

    Raises:
        ConfigError: It sells nothing, cannot be opened, or settings name a service.
        StoreError: The store cannot be used.
    """
    from holdfast.apps.reports.orders.shop import Shop

    async with session.application().resources() as found:
        shop = found.get(Shop)
        if not isinstance(shop, Shop):
            raise ConfigError(
                "no shop is open: this application sells nothing as it is set up",
                hint="set HOLDFAST_SHOP to test, or to live with a key of Stripe's",
            )
        yield shop
