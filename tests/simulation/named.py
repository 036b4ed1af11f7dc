"""Plans that found a defect once, each with its story.

Whole plans and not seeds: what a seed stands for changes with every change of the generator.
"""

from dataclasses import dataclass

from holdfast.testing.simulation import Fault, FaultKind, Plan, PlannedJob
from holdfast.testing.simulation.plan import Deed


@dataclass(frozen=True, kw_only=True)
class Named:
    """A plan and what it is remembered for."""

    plan: Plan
    story: str


NAMED = {
    "twice-cancelled-reservation": Named(
        plan=Plan(
            seed=48,
            clock_rates=(1.0,),
            jobs=(PlannedJob(kind="fan_out", size=3, at=1.0, deeds=(Deed(verb="cancel", at=1.09),)),),
            faults=(),
        ),
        story="a branch was cancelled again while its call was being booked, and let go of the booking: "
        "a call that was never sent stayed in the ledger as possibly paid",
    ),
    "claim-without-answer": Named(
        plan=Plan(
            seed=976,
            clock_rates=(1.0,),
            jobs=(PlannedJob(kind="flaky", size=1, at=1.0),),
            faults=(Fault(kind=FaultKind.UNANSWERED, verb="claim_jobs", number=2),),
        ),
        story="a claim was committed and its answer lost: the worker lived on and did not know that it "
        "owned the job, which nobody ran and nobody rescued",
    ),
    "claim-without-answer-and-a-pause": Named(
        plan=Plan(
            seed=386,
            clock_rates=(1.02,),
            jobs=(
                PlannedJob(kind="sequence", size=5, at=4.7, deeds=(Deed(verb="cancel", at=13.2),)),
                PlannedJob(kind="job_retry", size=5, at=14.0),
                PlannedJob(kind="flaky", size=5, at=6.7),
                PlannedJob(kind="signalled", size=2, at=2.1, deeds=(Deed(verb="signal", at=15.4),)),
            ),
            faults=(
                Fault(kind=FaultKind.PAUSE, at=3.9, seconds=11.4),
                Fault(kind=FaultKind.UNANSWERED, verb="claim_jobs", number=2),
            ),
        ),
        story="as before, but the worker was paused past its lease and came back before anybody rescued "
        "it: a first attempt at a fix put the claim right only where the heartbeat was still good",
    ),
    "fast-clock": Named(
        plan=Plan(
            seed=349,
            clock_rates=(1.0,),
            jobs=(PlannedJob(kind="long_retry", size=1, at=1.0),),
            faults=(Fault(kind=FaultKind.STEP, at=20.0, seconds=47.2),),
        ),
        story="the waker of a worker whose clock is ahead of the store's asked without end for a job "
        "that was due by its own clock only",
    ),
}
