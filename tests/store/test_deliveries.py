"""What telling of a job's end costs: nothing more than before where nobody wants to hear of it."""

from holdfast.ids import new_webhook_secret
from holdfast.model import JobStatus
from holdfast.store.service import WebhookSecrets
from holdfast.store.sqlite_runner import SqliteRunner
from holdfast.testing.store_suite.support import finish, settle, start, submit, worker
from holdfast.testing.store_suite.webhooks import webhook
from tests.store.conftest import SqliteLab


class Statements:
    """The statements that a store runs from now on."""

    def __init__(self, store) -> None:
        self.seen: list[str] = []
        runner = store._writer.runner
        assert isinstance(runner, SqliteRunner)
        runner.connection.set_trace_callback(self.seen.append)

    def about_webhooks(self) -> list[str]:
        return [each for each in self.seen if each.lstrip().startswith("SELECT webhook_id")]


async def worked(lab: SqliteLab):
    store = await lab.open()
    store.beat(worker("w1"), first=True)
    return store


async def test_without_webhooks_no_statement_more_is_run(lab: SqliteLab):
    """Whether there are any comes along with the ending job's row."""
    store = await worked(lab)
    lease, other, queued = await start(store), await start(store), await submit(store)
    statements = Statements(store)

    await finish(store, lease)
    await settle(store, other, JobStatus.FAILED)
    await store.cancel_job(queued)

    assert len(statements.seen) > 10
    assert statements.about_webhooks() == []


async def test_webhooks_of_other_tenants_cost_nothing_either(lab: SqliteLab):
    store = await worked(lab)
    other = webhook(lab, tenant="other")
    await store.service.insert_webhook(other, WebhookSecrets(secret=new_webhook_secret()))
    lease = await start(store, tenant="t")
    statements = Statements(store)

    await finish(store, lease)
    assert statements.about_webhooks() == []

    await finish(store, await start(store, tenant="other"))
    assert len(statements.about_webhooks()) == 1
