"""Does `holdfast doctor` notice that webhooks are told nothing?"""

import pytest

from holdfast.cli import checks
from holdfast.clock import SystemClock
from holdfast.settings import Settings
from holdfast.store.service import DELIVERY_KIND
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.store_suite.support import worker
from holdfast.webhooks import make_webhook


@pytest.mark.parametrize(
    ("queues", "warned"),
    [
        ([], False),
        ([("mails",)], True),
        ([("mails",), ("reports", "slow")], True),
        ([("mails",), (DELIVERY_KIND,)], False),
        ([("mails",), None], False),
    ],
)
async def test_webhooks_that_no_worker_serves_are_a_warning(tmp_path, queues, warned):
    settings = Settings(home=tmp_path)
    store = SqliteStore(tmp_path / "holdfast.db")
    await store.open()
    await store.service.insert_webhook(
        *make_webhook("https://shop.example/hooks", at=SystemClock().now())
    )
    for number, names in enumerate(queues):
        store.beat(worker(f"w{number}", queues=names), first=True)
    await store.close()

    found = {one.name: one for one in await checks._store(settings)}

    assert ("webhooks" in found) is warned
    assert found["workers"].verdict == "ok"
    if warned:
        assert found["webhooks"].verdict == "warning"
        assert DELIVERY_KIND in found["webhooks"].to_do


async def test_without_webhooks_any_queues_will_do(tmp_path):
    store = SqliteStore(tmp_path / "holdfast.db")
    await store.open()
    store.beat(worker("w1", queues=("mails",)), first=True)
    await store.close()

    assert "webhooks" not in {one.name for one in await checks._store(Settings(home=tmp_path))}
