"""The engine on a virtual clock under seeded faults; see `holdfast.testing.simulation`."""

import os

import pytest

from holdfast.testing.simulation import (
    Fault,
    FaultKind,
    Plan,
    PlannedJob,
    plan_of,
    shrink,
    simulate,
)
from tests.simulation.broken import BROKEN, Idle
from tests.simulation.named import NAMED

SEEDS = int(os.environ.get("HOLDFAST_SIMULATION_SEEDS", "400"))
"""Random seeds of one run of the tests; `python -m holdfast.testing.simulation` tries more."""

FIRST_SEED = 1_000_000
GROUP = 50


@pytest.mark.timeout(60)
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SEEDS, GROUP))
def test_random_faults_break_no_promise(first):
    for seed in range(first, min(first + GROUP, FIRST_SEED + SEEDS)):
        assert simulate(plan_of(seed)).violations == (), f"seed {seed}"


@pytest.mark.parametrize("name", NAMED)
def test_defect_that_was_found_once_is_gone(name):
    named = NAMED[name]

    assert simulate(named.plan).violations == (), named.story


@pytest.mark.parametrize("seed", [12, 231, 266])
def test_one_seed_gives_the_same_run_each_time(seed):
    plan = plan_of(seed)
    first, second = simulate(plan, verbose=True), simulate(plan, verbose=True)

    assert first.lines == second.lines
    assert first.trace_hash == second.trace_hash
    assert first.violations == second.violations


def test_different_seeds_give_different_runs():
    assert simulate(plan_of(1)).trace_hash != simulate(plan_of(2)).trace_hash


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_broken_store_is_found_within_a_hundred_seeds(broken):
    plans = (plan_of(seed, only=broken.needs) for seed in range(100))

    found = next((plan for plan in plans if simulate(plan, store_type=broken).violations), None)

    assert found is not None


def test_shrinker_keeps_only_the_fault_that_matters():
    crash = Fault(kind=FaultKind.CRASH, at=5.0, seconds=3.0)
    noise = tuple(Fault(kind=FaultKind.DEAF, at=float(at), seconds=2.0) for at in range(10, 20, 2))
    plan = Plan(
        seed=1,
        clock_rates=(1.0,),
        jobs=(
            PlannedJob(kind="flaky", size=1, at=30.0),
            PlannedJob(kind="long_retry", size=1, at=30.0),
            PlannedJob(kind="sequence", size=5, at=4.0),
        ),
        faults=(*noise[:2], crash, *noise[2:]),
    )

    small = shrink(plan, lambda smaller: bool(simulate(smaller, store_type=Idle).violations))

    assert small.faults == (crash,)
    assert [job.kind for job in small.jobs] == ["sequence"]
