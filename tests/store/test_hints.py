"""Hints within one process are exact: nobody is woken for what he did not ask for."""

from holdfast.store.base import NewEvent
from holdfast.store.hints import QUEUED, UNANNOUNCED, Hints, ended
from holdfast.store.postgres_connection import Place
from holdfast.store.postgres_hints import Exchange
from holdfast.testing.store_suite.support import start, submit, worker


async def test_events_of_a_job_hint_at_no_other_and_not_at_its_end(lab):
    store = await lab.open()
    store.beat(worker("w1"), first=True)
    lease, other = await start(store), await submit(store)
    with (
        store.hints.subscribe(other) as others,
        store.hints.subscribe(ended(lease.job_id)) as end,
    ):
        await store.append_events(lease, [NewEvent(type="x")])

        assert not others.is_set()
        assert not end.is_set()


def test_first_subscription_of_a_topic_is_told():
    hints = Hints()
    told: list[str] = []
    hints.on_subscribed = told.append

    with hints.subscribe("a"), hints.subscribe("a"), hints.subscribe("b"):
        assert told == ["a", "b"]
    with hints.subscribe("a"):
        assert told == ["a", "b", "a"]
    assert hints.idle


async def test_what_only_this_process_is_to_announce_is_told_to_no_other():
    """Nor wanted of others: each would have its waker look for the same jobs."""
    told: list[str] = []

    async def submit(operation):
        transaction = Told()
        operation(transaction)
        told.append(transaction.payload)

    exchange = Exchange(Place("postgresql://nowhere/none"), Hints(), submit, "us")
    exchange._hear("they want\n" + "*")

    exchange.tell({UNANNOUNCED})
    exchange._want(UNANNOUNCED)
    exchange.tell({UNANNOUNCED, QUEUED})
    await exchange.close()

    assert told == [f"us tell\n{QUEUED}"]


class Told:
    """A transaction that keeps what was to be notified."""

    payload = ""

    def execute(self, _sql, arguments):
        self.payload = arguments[1]
        return self

    def fetchone(self):
        return None
