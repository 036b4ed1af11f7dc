from holdfast.dispatch.local import LocalDispatcher
from holdfast.store.hints import QUEUED, Hints


async def test_dispatch_wakes_the_workers_of_this_process():
    hints = Hints()
    with hints.subscribe(QUEUED) as queued:
        await LocalDispatcher(hints).dispatch(("job_1",))

        assert queued.is_set()


async def test_dispatch_of_nothing_wakes_nobody():
    hints = Hints()
    with hints.subscribe(QUEUED) as queued:
        await LocalDispatcher(hints).dispatch(())

        assert not queued.is_set()
