"""Settings become a shop for the built-in reports."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

from holdfast.errors import ConfigError
from holdfast.wiring.extension import Extension
from holdfast.wiring.payments import shop_mode
from holdfast.wiring.secrets import secrets_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from fastapi import APIRouter

    from holdfast.apps.reports.orders.shop import Mode
    from holdfast.clock import Clock
    from holdfast.settings import Settings
    from holdfast.wiring.app import App
    from holdfast.wiring.opening import Opened


def add_shop(app: App) -> None:
    """Have an application with the reports sell them, if its settings say so.

    Raises:
        ConfigError: They are to be sold, and something for that is not set.
    """
    mode = shop_mode(app.settings)
    if mode is None:
        return
    if not _installed():
        if app.settings.shop == "auto" and mode == "test":
            return
        raise ConfigError(
            "the shop is open, and what it needs is not installed",
            hint="install 'holdfast[shop]', or set HOLDFAST_SHOP=off",
        )
    from holdfast.apps.reports.orders.fulfilment import register_orders

    _check(app.settings)
    register_orders(app.registry)
    app.extensions.append(_extension(mode))


def _extension(mode: Mode) -> Extension:
    """Return what opens the shop in workers and services, and gives its routes to the latter."""

    @contextlib.asynccontextmanager
    async def open_shop(
        settings: Settings, opened: Opened, clock: Clock
    ) -> AsyncIterator[Mapping[type, object]]:
        # Imported here: what the jobs are is asked for without any of this.
        from holdfast.apps.reports.orders.links import Links
        from holdfast.apps.reports.orders.shop import Shop
        from holdfast.apps.reports.shop.throttles import Throttles
        from holdfast.apps.reports.terms import load_terms
        from holdfast.server.tokens import Tokens
        from holdfast.wiring.mail import open_mailer
        from holdfast.wiring.payments import payments_of

        payments = payments_of(settings, mode, settings.service_url, clock)
        shop = Shop(
            mode=mode,
            orders=opened.orders,
            client=opened.client,
            terms=load_terms(settings.reports),
            payments=payments,
            mailer=open_mailer(settings, mode, clock),
            links=Links(settings.service_url, Tokens(secrets_of(settings), clock), clock),
            clock=clock,
        )
        try:
            yield {Shop: shop, Throttles: Throttles()}
        finally:
            await payments.close()

    return Extension(open=open_shop, routers=_routers)


def _routers() -> Sequence[APIRouter]:
    from holdfast.apps.reports.shop.routers import shop_routers

    return shop_routers()


def _installed() -> bool:
    """Whether the extra `holdfast[shop]` is installed; without it nothing is sold unless asked for."""
    return all(find_spec(name) is not None for name in ("aiosmtplib", "email_validator", "stripe"))


def _check(settings: Settings) -> None:
    """Refuse what would only come out once somebody has paid: links that lead nowhere, or open nothing.

    Raises:
        ConfigError: Processes on other machines would sign with secrets of their own, or nobody knows
            the address that customers reach, or reports would be deleted too soon.
    """
    from holdfast.apps.reports.orders.links import LINK_LIFETIME

    alone = settings.broker is None and settings.uses_home
    if not alone and settings.secret is None:
        raise ConfigError(
            "the shop is open, and HOLDFAST_SECRET is not set: workers would make links for customers"
            " that the service does not know",
            hint="set it to the same value in every worker and service, or HOLDFAST_SHOP=off",
        )
    if not settings.public_url and not (alone and settings.open_access):
        raise ConfigError(
            "the shop is open, and HOLDFAST_PUBLIC_URL is not set: links in e-mails would lead nowhere",
            hint="set it to the address that customers reach, or HOLDFAST_SHOP=off",
        )
    if settings.keep_days is not None and settings.keep_days < LINK_LIFETIME.days:
        raise ConfigError(
            f"the shop is open, and HOLDFAST_KEEP_DAYS is {settings.keep_days:g}: reports would be"
            f" deleted before the links to them end, after {LINK_LIFETIME.days} days",
            hint=f"set it to {LINK_LIFETIME.days} or more, or HOLDFAST_SHOP=off",
        )
