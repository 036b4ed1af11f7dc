"""The manual clock of the tests."""

import asyncio
from datetime import timedelta

import pytest

from holdfast.testing.clock import START, ManualClock


async def test_sleepers_wake_in_order_when_time_has_come():
    clock = ManualClock()
    woken = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3, 1, 2, 9)]
    await asyncio.sleep(0)
    assert clock.sleeping == 4
    clock.advance(3)
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*tasks[:3])

    assert (woken, clock.sleeping) == ([1, 2, 3], 1)
    assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=3), 3)
    tasks[3].cancel()
    await asyncio.wait(tasks)
    clock.advance(9)
    assert clock.sleeping == 0


async def test_sleep_for_nothing_returns_and_time_never_goes_back():
    clock = ManualClock()

    await clock.sleep(0)

    with pytest.raises(ValueError, match="-1"):
        clock.advance(-1)


async def test_sleep_counts_from_the_call_even_if_its_task_starts_later():
    clock = ManualClock()
    sleeping = asyncio.ensure_future(clock.sleep(5))

    clock.advance(5)

    await asyncio.wait_for(sleeping, 1)
