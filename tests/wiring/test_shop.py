"""Whether and how an application sells the reports, by its settings."""

from types import SimpleNamespace

import pytest

from holdfast.engine.registry import Registry
from holdfast.errors import ConfigError
from holdfast.settings import Settings
from holdfast.wiring import shop


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
