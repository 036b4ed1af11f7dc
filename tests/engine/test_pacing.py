import asyncio

import pytest

from holdfast.engine import pacing
from holdfast.engine.pacing import DeltaBuffer, LoopWatch


class Bare:
    """An awaitable whose iterator cannot be sent anything."""

    def __await__(self):
        return iter(())


async def test_watch_passes_values_and_results_through():
    async def work():
        await asyncio.sleep(0)
        return 5

    assert await LoopWatch(work(), "k") == 5


async def test_watch_hands_cancellation_and_errors_to_the_inside():
    seen = []

    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            seen.append(error)
            await asyncio.sleep(0)
            raise ValueError("cleaned up") from None

    async def outer():
        await LoopWatch(work(), "k")

    task = asyncio.ensure_future(outer())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(ValueError, match="cleaned up"):
        await task
    assert len(seen) == 1


async def test_watch_takes_futures_and_bare_awaitables():
    future = asyncio.get_running_loop().create_future()
    future.set_result(3)

    assert await LoopWatch(future, "k") == 3
    assert await LoopWatch(Bare(), "k") is None


async def test_deltas_are_coalesced_by_step_and_try(monkeypatch):
    monkeypatch.setattr(pacing, "DELTA_INTERVAL_SECONDS", 60)
    told = []
    buffer = DeltaBuffer(lambda kind, fields: told.append((kind, fields)))
    for key, step_attempt, text in [("a", 1, "x"), ("b", 1, "y"), ("a", 1, "z"), ("a", 2, "w")]:
        buffer.add(key, step_attempt, text)
    assert told == []

    buffer.flush()
    buffer.flush()

    assert told == [
        ("output.delta", {"key": "a", "step_attempt": 1, "text": "xz"}),
        ("output.delta", {"key": "b", "step_attempt": 1, "text": "y"}),
        ("output.delta", {"key": "a", "step_attempt": 2, "text": "w"}),
    ]
