"""Hints within one process are exact: nobody is woken for what he did not ask for."""

from holdfast.store.base import NewEvent
from holdfast.store.hints import Hints, ended
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
