"""Making a failing plan small: what is left is what it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.testing.simulation.plan import Plan

TRIES_MAX = 200
"""Runs of smaller plans, before the smallest found so far has to do."""


def shrink(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """Return the plan without the faults, jobs and deeds that its failure does not need.

    Half of what is left is taken out at a time, then a quarter, down to one by one, until
    nothing more can go. A smaller plan draws other latencies, so one that fails no more is only
    put aside.
    """
    tries = TRIES_MAX

    def still_fails(smaller: Plan) -> bool:
        nonlocal tries
        tries -= 1
        return tries >= 0 and fails(smaller)

    before = None
    while plan != before and tries > 0:
        before = plan
        plan = _without_faults(plan, still_fails)
        plan = _without_jobs(plan, still_fails)
    return plan


def _without_faults(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    size = len(plan.faults)
    while size:
        first = 0
        while first < len(plan.faults):
            kept = plan.faults[:first] + plan.faults[first + size :]
            smaller = replace(plan, faults=kept)
            if fails(smaller):
                plan = smaller
            else:
                first += size
        size //= 2
    return plan


def _without_jobs(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    for job in plan.jobs:
        smaller = replace(plan, jobs=tuple(each for each in plan.jobs if each is not job))
        if smaller.jobs and fails(smaller):
            plan = smaller
    for number, job in enumerate(plan.jobs):
        calmer = replace(job, deeds=tuple(deed for deed in job.deeds if deed.verb != "cancel"))
        smaller = replace(plan, jobs=(*plan.jobs[:number], calmer, *plan.jobs[number + 1 :]))
        if calmer != job and fails(smaller):
            plan = smaller
    return plan
