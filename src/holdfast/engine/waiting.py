"""Waiting for signals, durably."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from holdfast import codec
from holdfast.engine.attempt import SIGNAL_TYPE
from holdfast.engine.branches import Wait
from holdfast.engine.steps import claim_key, store_checkpoint, wait_while_draining
from holdfast.errors import SignalTimeoutError
from holdfast.model import Checkpoint, SuspendReason
from holdfast.store.base import RESERVED_KEY_PREFIX

if TYPE_CHECKING:
    from holdfast.engine.attempt import Attempt
    from holdfast.model import Event

_DEADLINE_KEY_PREFIX = RESERVED_KEY_PREFIX + "deadline/"


async def wait_for_signal(
    attempt: Attempt,
    name: str,
    *,
    key: str,
    timeout: timedelta | None,
    returns: Any,
) -> Any:
    """Return the payload of the next signal `name` that no other wait has taken.

    The checkpoint records which signal was taken, so that two waits never share one.

    Raises:
        SignalTimeoutError: None came in time.
    """
    claim_key(attempt, key)
    found = attempt.checkpoints.get(key)
    if found is None or not found.finished:
        deadline = await _deadline(attempt, key, timeout)
        signal = await _next_signal(attempt, name, deadline)
        record = {"signal_seq": None} if signal is None else _taken(signal)
        found = Checkpoint(key=key, value=codec.to_json(record), type_name=SIGNAL_TYPE)
        with attempt.branches.running_step():
            await store_checkpoint(attempt, found)
    record = codec.from_json(found.value or b"{}")
    if record["signal_seq"] is None:
        raise SignalTimeoutError(
            f"no signal {name!r} came in time for step {key!r} of job {attempt.job.job_id!r}",
            hint="catch SignalTimeoutError where the job can go on without it",
        )
    payload = codec.to_json(record["payload"])
    return codec.decode_value(payload, returns, None, what=f"payload of signal {name!r}")


def _taken(signal: Event) -> dict[str, Any]:
    return {"signal_seq": signal.seq, "payload": codec.from_json(signal.data)["payload"]}


async def _deadline(attempt: Attempt, key: str, timeout: timedelta | None) -> datetime | None:
    """The end of the wait, counted from the first attempt that reached it."""
    if timeout is None:
        return None
    deadline_key = _DEADLINE_KEY_PREFIX + key
    found = attempt.checkpoints.get(deadline_key)
    if found is None:
        text = codec.to_json((attempt.now() + timeout).isoformat())
        found = Checkpoint(key=deadline_key, value=text)
        with attempt.branches.running_step():
            await store_checkpoint(attempt, found)
    return datetime.fromisoformat(codec.from_json(found.value or b'""'))


async def _next_signal(attempt: Attempt, name: str, deadline: datetime | None) -> Event | None:
    while True:
        await wait_while_draining(attempt)
        changes = attempt.changes
        await attempt.refresh_signals()
        taken = attempt.taken_signals
        for signal in attempt.signals:
            if signal.seq not in taken and codec.from_json(signal.data)["name"] == name:
                taken.add(signal.seq)
                return signal
        if deadline is not None and attempt.now() >= deadline:
            return None
        with attempt.branches.waiting(Wait(reason=SuspendReason.SIGNAL, until=deadline)):
            await _change_or_deadline(attempt, changes, deadline)


async def _change_or_deadline(attempt: Attempt, changes: int, deadline: datetime | None) -> None:
    if deadline is None:
        await attempt.changed(changes)
        return
    left = max(0.0, (deadline - attempt.now()).total_seconds())
    pending = {
        asyncio.ensure_future(attempt.changed(changes)),
        asyncio.ensure_future(attempt.clock.sleep(left)),
    }
    try:
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in pending:
            waiter.cancel()
