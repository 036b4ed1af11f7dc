"""The shop of the built-in reports: could an order be paid, made and told of as it is set up?"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from holdfast.cli.finding import Finding, Verdict
from holdfast.clock import SystemClock
from holdfast.errors import HoldfastError
from holdfast.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.apps.reports.orders.shop import Mode
    from holdfast.settings import Settings

_AREA = "shop"
_CENTS_MIN = 50
"""Of a payment in US dollars, by Stripe's rules."""


async def shop(settings: Settings, *, offline: bool) -> list[Finding]:
    """Return the findings on the shop that these settings open.

    Args:
        settings: Of an application of others nothing is known here.
        offline: Ask neither the payment service nor the mail server.
    """
    if settings.app:
        return []
    from holdfast.wiring.payments import shop_mode

    try:
        mode = shop_mode(settings)
    except HoldfastError as error:
        return [_problem("mode", error)]
    if mode is None:
        return [_found("mode", "ok", "off: reports are not sold")]
    findings = [_mode(settings, mode)]
    if mode == "live":
        findings += _keys(settings)
    if not any(found.verdict == "problem" for found in findings):
        findings.append(await _payments(settings, mode, offline=offline))
    findings += [await _mail(settings, mode, offline=offline), _links(settings, mode)]
    findings += [_prices(settings, mode), await _workers(settings, mode)]
    return findings


def _found(name: str, verdict: Verdict, told: str, to_do: str = "") -> Finding:
    return Finding(_AREA, name, verdict, told, to_do)


def _problem(name: str, error: HoldfastError) -> Finding:
    return _found(name, "problem", error.message, error.hint)


def _mode(settings: Settings, mode: Mode) -> Finding:
    if mode == "test":
        return _found("mode", "ok", "test: a payment page of our own, where nobody pays anything")
    if _key_of(settings).startswith(("sk_test_", "rk_test_")):
        told = "live, with a key of Stripe's test mode: nobody pays anything"
        return _found("mode", "warning", told, "set STRIPE_API_KEY to a live key to be paid")
    return _found("mode", "ok", "live: paid by Stripe")


def _keys(settings: Settings) -> Iterator[Finding]:
    """Tell keys that are mixed up, which otherwise comes out with the first customer."""
    if _key_of(settings).startswith(("sk_", "rk_")):
        yield _found("Stripe key", "ok", "present")
    else:
        told = "STRIPE_API_KEY is neither a secret key (sk_…) nor a restricted one (rk_…)"
        yield _found("Stripe key", "problem", told, "copy it from Stripe: Developers, API keys")
    given = settings.stripe_webhook_secret
    secrets = [] if given is None else [each.strip() for each in given.get_secret_value().split(",")]
    if secrets and all(each.startswith("whsec_") for each in secrets):
        yield _found(
            "webhook secret", "ok", "present" if len(secrets) == 1 else f"{len(secrets)} are accepted"
        )
        return
    wrong = (
        "is no signing secret (whsec_…)" if secrets else "is not set: no payment would ever be noticed"
    )
    yield _found(
        "webhook secret",
        "problem",
        f"STRIPE_WEBHOOK_SECRET {wrong}",
        "copy it from Stripe: Developers, Webhooks, the endpoint of this shop",
    )


def _key_of(settings: Settings) -> str:
    return "" if settings.stripe_api_key is None else settings.stripe_api_key.get_secret_value().strip()


async def _payments(settings: Settings, mode: Mode, *, offline: bool) -> Finding:
    from holdfast.wiring.payments import payments_of

    try:
        payments = payments_of(settings, mode, settings.service_url, SystemClock())
        try:
            if offline and mode == "live":
                return _found("payments", "ok", "not tried (--offline)")
            return _found("payments", "ok", await payments.check())
        finally:
            await payments.close()
    except HoldfastError as error:
        return _problem("payments", error)


async def _mail(settings: Settings, mode: Mode, *, offline: bool) -> Finding:
    from holdfast.wiring.mail import open_mailer

    try:
        mailer = open_mailer(settings, mode, SystemClock())
        if offline and settings.smtp_url is not None:
            return _found("e-mail", "ok", "not tried (--offline)")
        return _found("e-mail", "ok", await mailer.check())
    except ImportError as error:
        return _found("e-mail", "problem", f"not installed: {error.name}", "install 'holdfast[shop]'")
    except HoldfastError as error:
        return _problem("e-mail", error)


def _links(settings: Settings, mode: Mode) -> Finding:
    """Say where links in e-mails lead, and what signs them."""
    signed = "the home folder's secret" if settings.secret is None else "HOLDFAST_SECRET"
    told = f"lead to {settings.service_url}, signed by {signed}"
    url = urlsplit(settings.service_url)
    if mode == "test":
        return _found("links", "ok", told)
    if is_loopback(url.hostname or ""):
        return _found(
            "links",
            "problem",
            f"{told}: no customer reaches that, nor does Stripe",
            "set HOLDFAST_PUBLIC_URL to the address that customers reach",
        )
    if url.scheme != "https":
        return _found(
            "links",
            "problem",
            f"{told}: Stripe sends live webhooks to https only, and whoever listens sees the links",
            "serve by https, and set HOLDFAST_PUBLIC_URL to it",
        )
    return _found("links", "ok", told)


def _prices(settings: Settings, mode: Mode) -> Finding:
    from holdfast.apps.reports.terms import load_terms

    try:
        terms = load_terms(settings.reports)
    except HoldfastError as error:
        return _problem("prices", error)
    low = [kind for kind, found in terms.items() if found.price_usd * 100 < _CENTS_MIN]
    if mode == "live" and low:
        return _found(
            "prices",
            "problem",
            f"{', '.join(low)}: less than $0.50, which Stripe does not take",
            "raise price_usd in the file that HOLDFAST_REPORTS names",
        )
    lowest = min(found.price_usd for found in terms.values())
    return _found("prices", "ok", f"{len(terms)} products from ${lowest:.2f} on")


async def _workers(settings: Settings, mode: Mode) -> Finding:
    """Say whether what is ordered would be made: each queue needs a worker that is alive."""
    from holdfast.apps.reports.jobs import PRODUCTS
    from holdfast.apps.reports.orders.models import ORDERS_QUEUE
    from holdfast.store import open_store

    try:
        store = await open_store(settings.store_url)
        try:
            report = await store.inspect()
        finally:
            await store.close()
    except HoldfastError as error:
        return _problem("workers", error)
    now = SystemClock().now()
    served = [record.queues for record, expires_at in report.workers if expires_at > now]
    queues = [ORDERS_QUEUE, *(product.queue for product in PRODUCTS)]
    left = [name for name in queues if not any(each is None or name in each for each in served)]
    if not left:
        return _found("workers", "ok", f"serve all {len(queues)} queues")
    if mode == "test" and not served:
        return _found("workers", "ok", "none now; 'holdfast serve' is one, too, without a broker")
    return _found(
        "workers",
        "warning",
        f"none alive for {', '.join(left)}: such orders are paid and wait",
        "start one with 'holdfast worker', without --queues or with these",
    )
