"""Booking that a cancel does not break."""

import asyncio

import pytest

from holdfast.llm.budget import unbroken


async def test_unbroken_work_ends_however_often_its_caller_is_cancelled():
    begun, may_end = asyncio.Event(), asyncio.Event()
    ended = []

    async def work() -> None:
        begun.set()
        await may_end.wait()
        ended.append("booked")

    caller = asyncio.create_task(unbroken(work()))
    await begun.wait()
    for _ in range(3):
        caller.cancel()
        await asyncio.sleep(0)
    may_end.set()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended == ["booked"]
