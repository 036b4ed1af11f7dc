from holdfast.dispatch.local import LocalDispatcher
from holdfast.model import Dispatch
from holdfast.store.hints import QUEUED, Hints


async def test_dispatch_wakes_the_workers_of_this_process():
    hints = Hints()
    with hints.subscribe(QUEUED) as queued:
        await LocalDispatcher(hints).dispatch((Dispatch(job_id="job_1", queue="work", number=1),))

        assert queued.is_set()


async def test_dispatch_of_nothing_wakes_nobody():
    hints = Hints()
    with hints.subscribe(QUEUED) as queued:
        await LocalDispatcher(hints).dispatch(())

        assert not queued.is_set()
