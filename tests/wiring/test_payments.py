import sys

import pytest

from holdfast.apps.reports.orders.payments import test_mode
from holdfast.apps.reports.orders.payments.stripe import StripePayments
from holdfast.clock import SystemClock
from holdfast.errors import ConfigError
from holdfast.settings import Settings
from holdfast.wiring.payments import payments_of, shop_mode

KEY, HOOK, SECRET = "sk_test_4711", "whsec_4711", "x" * 32
PUBLIC = {"public_url": "https://shop.example"}
ELSEWHERE = {"store": "postgresql://db/x", "artifacts": "s3://bucket"}


def settings(**values):
    cleared = {"stripe_api_key": None, "stripe_webhook_secret": None}
    return Settings(**{**cleared, **values})


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ({}, "test"),
        (PUBLIC, None),
        (ELSEWHERE, None),
        ({"auth": "required"}, None),
        ({"stripe_api_key": KEY, "stripe_webhook_secret": "whsec_1"}, "live"),
        ({**PUBLIC, "stripe_api_key": KEY, "stripe_webhook_secret": "whsec_1"}, "live"),
        ({"stripe_api_key": KEY}, "test"),
        ({**PUBLIC, "stripe_api_key": KEY}, None),
        ({"shop": "off", "stripe_api_key": KEY}, None),
        ({"shop": "test", "stripe_api_key": KEY}, "test"),
        ({"shop": "test", **PUBLIC, **ELSEWHERE}, "test"),
        ({"shop": "live", "stripe_api_key": KEY}, "live"),
    ],
)
def test_mode_follows_from_keys_and_from_who_reaches_the_service(values, mode):
    assert shop_mode(settings(**values)) == mode


def test_live_without_a_key_is_refused():
    with pytest.raises(ConfigError, match="HOLDFAST_STRIPE_API_KEY is not set"):
        shop_mode(settings(shop="live"))


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"stripe_api_key": KEY}, "HOLDFAST_STRIPE_WEBHOOK_SECRET"),
        ({"stripe_api_key": KEY, "stripe_webhook_secret": " , "}, "HOLDFAST_STRIPE_WEBHOOK_SECRET"),
        ({"stripe_api_key": "", "stripe_webhook_secret": HOOK}, "HOLDFAST_STRIPE_API_KEY"),
    ],
)
def test_live_needs_both_and_says_which_is_missing(values, missing):
    with pytest.raises(ConfigError, match=missing) as caught:
        payments_of(settings(**values), "live", "https://shop.example", SystemClock())

    assert "4711" not in str(caught.value)


async def test_each_mode_has_its_payments(tmp_path):
    both = settings(stripe_api_key=KEY, stripe_webhook_secret=f"{HOOK}, whsec_2", secret=SECRET)

    live = payments_of(both, "live", "https://shop.example", SystemClock())
    test = payments_of(both, "test", "https://shop.example", SystemClock())

    assert isinstance(live, StripePayments)
    assert isinstance(test, test_mode.TestPayments)
    await live.close()


def test_missing_library_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "holdfast.apps.reports.orders.payments.stripe", None)

    with pytest.raises(ConfigError, match=r"install 'holdfast\[shop\]'"):
        payments_of(settings(), "test", "http://127.0.0.1:8000", SystemClock())
