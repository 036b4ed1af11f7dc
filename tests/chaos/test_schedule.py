"""Schedules: what a seed gives, and how a failing one is made small."""

import pytest

from holdfast.testing.chaos.options import Options
from holdfast.testing.chaos.run import plan_of
from holdfast.testing.chaos.schedule import (
    ON_BROKER,
    Fault,
    FaultKind,
    from_json,
    shrink,
    to_json,
)

SHORT = Options(seconds=40.0, gap_seconds=2.0)


def test_same_seed_gives_same_schedule():
    assert plan_of(SHORT, 7) == plan_of(SHORT, 7) != plan_of(SHORT, 8)


@pytest.mark.parametrize("seed", range(20))
def test_short_schedule_has_every_kind_and_keeps_its_bounds(seed):
    faults = plan_of(SHORT, seed)

    assert {fault.kind for fault in faults} == set(FaultKind)
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert all(0 < fault.at < SHORT.seconds and 0 <= fault.worker < 3 for fault in faults)
    stops = [fault.seconds for fault in faults if fault.kind is FaultKind.PAUSE]
    assert min(stops) > SHORT.lease_seconds
    assert {abs(fault.seconds) for fault in faults if fault.kind is FaultKind.CLOCK} == {60.0}


def test_schedule_without_broker_leaves_it_alone():
    faults = plan_of(Options(broker="none"), 1)

    assert not {fault.kind for fault in faults} & ON_BROKER


def test_schedule_survives_a_file():
    faults = plan_of(SHORT, 3)

    assert from_json(to_json(faults)) == faults
    with pytest.raises(ValueError, match="no schedule of faults"):
        from_json('[{"at": 1.0}]')


def numbered(count: int) -> tuple[Fault, ...]:
    return tuple(Fault(at=float(number), kind=FaultKind.KILL) for number in range(count))


async def test_shrinking_finds_the_two_faults_that_matter():
    faults = numbered(40)
    culprits = {faults[13], faults[14]}

    async def fails(some: tuple[Fault, ...]) -> bool:
        return culprits <= set(some)

    assert set(await shrink(faults, fails, tries=100)) == culprits


async def test_shrinking_keeps_to_its_number_of_tries():
    tried: list[int] = []

    async def fails(some: tuple[Fault, ...]) -> bool:
        tried.append(len(some))
        return False

    assert await shrink(numbered(40), fails, tries=5) == numbered(40)
    assert len(tried) == 5


async def test_shrinking_halves_while_the_smaller_one_fails():
    tried: list[int] = []

    async def fails(some: tuple[Fault, ...]) -> bool:
        tried.append(len(some))
        return True

    assert len(await shrink(numbered(16), fails, tries=100)) == 1
    assert tried == [8, 4, 2, 1]
