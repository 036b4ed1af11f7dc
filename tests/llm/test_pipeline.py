"""The way of a call: what its job is told of it."""

from holdfast.llm.config import ModelConfig
from holdfast.store.base import LaneAdjustment

LANE = ModelConfig(model="gpt-4o-mini").lane


async def test_long_wait_for_a_lane_is_told_when_it_shows_and_when_it_ends(
    make_llm, in_step, lanes, told
):
    await lanes.adjust_lane(LaneAdjustment(lane=LANE, pause_seconds=1.2))
    llm = make_llm()

    await llm.complete("go")

    (waiting, where), (admitted, how_long) = told
    assert (waiting, admitted) == ("step.waiting", "step.admitted")
    assert where == {"key": "daily", "step_attempt": 1, "lane": LANE}
    assert how_long == {**where, "wait_seconds": how_long["wait_seconds"]}
    assert how_long["wait_seconds"] >= 1


async def test_call_that_finds_its_lane_open_tells_nothing(make_llm, in_step, told):
    await make_llm().complete("go")

    assert told == []
