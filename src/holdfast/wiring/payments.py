"""Settings become a way to be paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import ConfigError
from holdfast.wiring.secrets import secrets_of

if TYPE_CHECKING:
    from pydantic import SecretStr

    from holdfast.apps.reports.orders.payments.base import Payments
    from holdfast.apps.reports.orders.shop import Mode
    from holdfast.clock import Clock
    from holdfast.settings import Settings


def shop_mode(settings: Settings) -> Mode | None:
    """Return how the reports are sold; None if they are not. See `Settings.shop`.

    Raises:
        ConfigError: They are to be sold by Stripe, and there is no key.
    """
    match settings.shop:
        case "live":
            _required(settings.stripe_api_key, "HOLDFAST_STRIPE_API_KEY")
            return "live"
        case "test":
            return "test"
        case "off":
            return None
        case "auto":
            # A key alone may be there for something else than us.
            if settings.stripe_api_key is not None and settings.stripe_webhook_secret is not None:
                return "live"
            return "test" if settings.open_access and settings.embedded else None


def payments_of(settings: Settings, mode: Mode, public_url: str, clock: Clock) -> Payments:
    """Return what takes payments; nothing is connected to before it is used. The caller closes it.

    Args:
        settings: Hold the keys.
        mode: As `shop_mode` tells.
        public_url: Where the service is reached from outside, for the page of test mode.
        clock: For the age of webhooks.

    Raises:
        ConfigError: A key or secret is missing, or `holdfast[shop]` is not installed.
    """
    try:
        from holdfast.apps.reports.orders.payments.stripe import StripePayments
        from holdfast.apps.reports.orders.payments.test_mode import TestPayments
    except ImportError as error:
        raise ConfigError(
            f"payments cannot be taken: {error}",
            hint="install 'holdfast[shop]', or set HOLDFAST_SHOP=off",
        ) from error
    if mode == "test":
        return TestPayments(secrets_of(settings), public_url, clock)
    api_key = _required(settings.stripe_api_key, "HOLDFAST_STRIPE_API_KEY")
    secrets = _required(settings.stripe_webhook_secret, "HOLDFAST_STRIPE_WEBHOOK_SECRET").split(",")
    return StripePayments(
        api_key,
        [one.strip() for one in secrets if one.strip()],
        api_base=settings.stripe_api_base,
        clock=clock,
    )


def _required(secret: SecretStr | None, name: str) -> str:
    value = "" if secret is None else secret.get_secret_value().strip(" ,")
    if not value:
        raise ConfigError(
            f"the reports are to be sold by Stripe, but {name} is not set",
            hint="set it, or sell nothing with HOLDFAST_SHOP=off",
        )
    return value
