"""When the reports are sold, and what is refused before anybody pays."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from holdfast.apps.reports.orders.shop import Shop
from holdfast.engine.registry import Registry
from holdfast.errors import ConfigError
from holdfast.settings import Settings
from holdfast.wiring import shop
from holdfast.wiring.loading import default_app

SECRET = "a secret of the tests, long enough for everybody"


def settings(home, **given) -> Settings:
    return Settings(_env_file=None, home=home, **given)


async def test_shop_on_this_machine_is_in_test_mode(tmp_path):
    app = default_app(settings(tmp_path))

    async with app.service(with_worker=False) as service:
        shop = service.resources[Shop]

    assert isinstance(shop, Shop)
    assert shop.mode == "test"
    assert "order" in app.registry.names
    assert shop.links.product_page("bundle") == "http://127.0.0.1:8000/reports/bundle"


@pytest.mark.parametrize(
    "given",
    [
        {"shop": "off"},
        {"host": "0.0.0.0"},
        {"auth": "required"},
        {"public_url": "https://x.example"},
        {"broker": "redis://127.0.0.1"},
        {"store": "postgresql://127.0.0.1/holdfast"},
        {"store": "postgresql://127.0.0.1/holdfast", "broker": "amqp://127.0.0.1"},
    ],
)
def test_nothing_is_sold_where_nobody_has_said_so(tmp_path, given):
    app = default_app(settings(tmp_path, **given))

    assert app.extensions == []
    assert "order" not in app.registry.names


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"broker": "redis://127.0.0.1"}, "HOLDFAST_SECRET"),
        ({"store": "sqlite:///x.db", "artifacts": "/tmp/x"}, "HOLDFAST_SECRET"),
        ({"broker": "redis://127.0.0.1", "secret": SECRET}, "HOLDFAST_PUBLIC_URL"),
        ({"host": "0.0.0.0"}, "HOLDFAST_PUBLIC_URL"),
    ],
)
def test_shop_of_a_fleet_wants_what_links_are_made_of(tmp_path, given, missing):
    with pytest.raises(ConfigError, match=missing):
        default_app(settings(tmp_path, shop="test", **given))


def test_looking_at_jobs_loads_neither_stripe_nor_a_web_framework(tmp_path):
    program = (
        "import sys\n"
        "from holdfast.settings import Settings\n"
        "from holdfast.wiring.loading import default_app\n"
        f"app = default_app(Settings(home={str(tmp_path)!r}))\n"
        "assert app.extensions\n"
        "print(sorted({'stripe', 'fastapi', 'aiosmtplib'} & sys.modules.keys()))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    )

    assert done.stdout.strip() == "[]"


def application(**values):
    cleared = {"stripe_api_key": None, "stripe_webhook_secret": None}
    settings = Settings(**{**cleared, **values})
    return SimpleNamespace(settings=settings, registry=Registry(), extensions=[])


def test_shop_that_lacks_its_extra_says_so_unless_nobody_has_asked_for_it(monkeypatch):
    monkeypatch.setattr(shop, "_installed", lambda: False)
    unasked = application()

    shop.add_shop(unasked)

    assert unasked.extensions == []
    with pytest.raises(ConfigError, match="not installed") as failed:
        shop.add_shop(application(shop="test"))
    assert "holdfast[shop]" in failed.value.hint


def test_reports_outlive_the_links_to_them():
    kept = application(keep_days=60)

    shop.add_shop(kept)

    assert len(kept.extensions) == 1
    with pytest.raises(ConfigError, match=r"HOLDFAST_KEEP_DAYS is 7.*after 60 days"):
        shop.add_shop(application(keep_days=7))
