"""The way of a call: what its job is told of it."""

import asyncio

from holdfast.llm.client import LLM
from holdfast.llm.config import LLMConfig, ModelConfig
from holdfast.llm.lanes import LocalLanes
from holdfast.llm.providers.scripted import Scripted
from holdfast.store.base import LaneAdjustment
from holdfast.testing.clock import ManualClock
from holdfast.testing.signals import eventually

MODEL = ModelConfig(model="m", provider="scripted")


def make(clock: ManualClock, ledger) -> tuple[LLM, LocalLanes]:
    lanes = LocalLanes(clock)
    scripted = {"scripted": Scripted(clock=clock)}
    return LLM(LLMConfig.single(MODEL), scripted, lanes=lanes, ledger=ledger, clock=clock), lanes


async def test_long_wait_for_a_lane_is_told_when_it_shows_and_when_it_ends(in_step, ledger, told):
    clock = ManualClock()
    llm, lanes = make(clock, ledger)
    await lanes.adjust_lane(LaneAdjustment(lane=MODEL.lane, pause_seconds=4))
    calling = asyncio.create_task(llm.complete("go"))
    where = {"key": "daily", "step_attempt": 1, "lane": "scripted:m"}
    await eventually(lambda: told == [("step.waiting", where)])

    clock.advance(4.5)
    await calling

    assert told[1:] == [("step.admitted", {**where, "wait_seconds": 4.5})]


async def test_call_that_finds_its_lane_open_tells_nothing(in_step, ledger, told):
    llm, _ = make(ManualClock(), ledger)

    await llm.complete("go")

    assert told == []


async def test_cancelled_wait_tells_no_admission(in_step, ledger, told):
    clock = ManualClock()
    llm, lanes = make(clock, ledger)
    await lanes.adjust_lane(LaneAdjustment(lane=MODEL.lane, pause_seconds=4))
    calling = asyncio.create_task(llm.complete("go"))
    await eventually(lambda: bool(told))

    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)

    assert [name for name, _ in told] == ["step.waiting"]
