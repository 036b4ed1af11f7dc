"""What `holdfast doctor` says of the shop, before its first customer finds out."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.cli.check_shop import shop
from holdfast.clock import SystemClock
from holdfast.settings import Settings
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.servers.smtp import Smtp
from holdfast.testing.store_suite.support import worker
from holdfast.testing.stripe import API_KEY, WEBHOOK_SECRET, StripeSimulator

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.cli.finding import Finding

LIVE_KEY = "sk_live_of_nobody_0000"
LIVE: dict[str, Any] = {
    "stripe_api_key": API_KEY,
    "stripe_webhook_secret": WEBHOOK_SECRET,
    "public_url": "https://reports.example",
    "smtp_url": "smtp://127.0.0.1:9",
    "mail_from": "Acme Reports <reports@acme.example>",
}


async def findings(home: Path, *, offline: bool = True, **settings: object) -> dict[str, Finding]:
    """Return the findings by name; no secret is in them."""
    found = await shop(Settings(**{"home": home, **settings}), offline=offline)  # type: ignore[arg-type]
    for secret in (API_KEY, LIVE_KEY, WEBHOOK_SECRET):
        assert secret not in str(found)
    return {one.name: one for one in found}


async def test_shop_on_this_machine_is_in_test_mode_and_well(tmp_path):
    found = await findings(tmp_path, offline=False)

    names = ["mode", "payments", "e-mail", "links", "prices", "workers"]
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(names, "ok")
    assert "nobody pays" in found["mode"].told
    assert "outbox" in found["e-mail"].told


async def test_nothing_is_looked_at_where_nothing_is_sold(tmp_path):
    assert [one.told for one in (await findings(tmp_path, shop="off")).values()] == [
        "off: reports are not sold"
    ]
    assert await findings(tmp_path, app="shop.example:app") == {}


async def test_stripe_and_the_mail_server_are_reached(tmp_path, requires):
    requires("openssl")
    async with StripeSimulator() as stripe:
        with contextlib.closing(Smtp().start()) as server:
            settings = LIVE | {"stripe_api_base": stripe.base_url, "smtp_url": server.url}
            found = await findings(tmp_path, offline=False, **settings)

    assert (found["payments"].verdict, found["payments"].told[:6]) == ("ok", "Stripe")
    assert found["e-mail"].verdict == "ok"
    assert "reports@acme.example" in found["e-mail"].told
    assert (found["mode"].verdict, "test mode" in found["mode"].told) == ("warning", True)


async def test_key_that_stripe_refuses_and_a_mail_server_that_is_away_are_problems(tmp_path):
    async with StripeSimulator() as stripe:
        settings = LIVE | {"stripe_api_base": stripe.base_url, "stripe_api_key": LIVE_KEY}
        found = await findings(tmp_path, offline=False, **settings)

    assert (found["mode"].verdict, found["mode"].told) == ("ok", "live: paid by Stripe")
    assert {name: found[name].verdict for name in ("payments", "e-mail")} == {
        "payments": "problem",
        "e-mail": "problem",
    }


@pytest.mark.parametrize(
    ("settings", "name", "verdict", "told"),
    [
        ({"shop": "live", "stripe_api_key": None}, "mode", "problem", "HOLDFAST_STRIPE_API_KEY is not"),
        ({"stripe_api_key": "pk_live_1"}, "Stripe key", "problem", "neither a secret key"),
        (
            {"shop": "live", "stripe_webhook_secret": None},
            *("webhook secret", "problem", "is not set"),
        ),
        ({"stripe_webhook_secret": "sk_live_1"}, "webhook secret", "problem", "no signing secret"),
        ({"stripe_webhook_secret": "whsec_1, whsec_2"}, "webhook secret", "ok", "2 are accepted"),
        ({}, "payments", "ok", "not tried"),
        ({}, "e-mail", "ok", "not tried"),
        ({"smtp_url": None}, "e-mail", "problem", "no server to send e-mails by"),
        ({"mail_from": ""}, "e-mail", "problem", "HOLDFAST_MAIL_FROM"),
        ({}, "links", "ok", "https://reports.example"),
        ({"public_url": ""}, "links", "problem", "no customer reaches that"),
        ({"public_url": "http://reports.example"}, "links", "problem", "to https only"),
        ({}, "prices", "ok", "4 products from $19.99 on"),
        ({}, "workers", "warning", "reports.orders, reports.life_clarity"),
    ],
)
async def test_what_would_only_come_out_with_a_customer_is_told(tmp_path, settings, name, verdict, told):
    found = await findings(tmp_path, **LIVE | settings)

    assert found[name].verdict == verdict
    assert told in found[name].told
    assert verdict == "ok" or found[name].to_do


async def test_price_that_stripe_does_not_take_is_a_problem(tmp_path):
    terms = tmp_path / "terms.toml"
    terms.write_text("[life_clarity]\nprice_usd = 0.3\n")

    found = await findings(tmp_path, **LIVE | {"reports": terms})

    assert found["prices"].verdict == "problem"
    assert "life_clarity: less than $0.50" in found["prices"].told


async def test_queue_that_no_living_worker_serves_is_named(tmp_path):
    store = SqliteStore(tmp_path / "holdfast.db", clock=SystemClock())
    await store.open()
    some = worker("w1", queues=("reports.orders", "reports.life_clarity", "reports.bundle"))
    await asyncio.to_thread(store.beat, some, first=True)

    left = (await findings(tmp_path))["workers"]
    await asyncio.to_thread(store.beat, worker("w2"), first=True)
    all_served = (await findings(tmp_path))["workers"]
    await store.close()

    assert left.verdict == "warning"
    assert "for reports.personal_blueprint, reports.personal_horoscope:" in left.told
    assert (all_served.verdict, all_served.told) == ("ok", "serve all 5 queues")
