import asyncio

from holdfast.model import Lease
from holdfast.scope import StepScope, current_step, enter_step, leave_step

SCOPE = StepScope(
    lease=Lease(job_id="job_x", epoch=1, worker_id="w", row=1),
    kind="k",
    step_key="s",
    step_attempt=1,
    priority=0,
    tenant=None,
    emit=lambda event_type, fields: None,
    emit_delta=lambda text: None,
    owe=lambda call_id, booking: None,
)


def test_code_outside_of_a_step_has_no_scope():
    assert current_step() is None


def test_scope_ends_where_it_was_left():
    token = enter_step(SCOPE)
    assert current_step() is SCOPE
    leave_step(token)

    assert current_step() is None


async def test_scope_reaches_threads_and_tasks_that_the_step_starts_and_no_others():
    async def inside():
        return current_step()

    outside = asyncio.ensure_future(inside())
    token = enter_step(SCOPE)
    try:
        found = [await asyncio.to_thread(current_step), await asyncio.ensure_future(inside())]
    finally:
        leave_step(token)

    assert found == [SCOPE, SCOPE]
    assert await outside is None
