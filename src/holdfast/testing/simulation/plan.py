"""What is going to happen in one simulation: jobs, what people do to them, and what goes wrong.

A plan is a plain value that follows from its seed. The shrinker takes faults out of it one by one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

HORIZON_SECONDS = 60.0
"""Jobs come and things go wrong until then; afterwards the world only heals."""

LEASE_SECONDS = 10.0

KINDS = (
    "sequence", "fan_out", "mapped", "flaky", "sleeper", "long_retry", "signalled", "saga",
    "budgeted", "job_retry", "two_waits", "failing",
)  # fmt: skip
"""Names of the job functions in `holdfast.testing.simulation.jobs`."""

_VERBS = (
    "claim_jobs", "claim_jobs", "settle_attempt", "settle_attempt", "settle_attempt", "put_checkpoint",
    "put_checkpoint", "put_checkpoint", "put_checkpoint", "begin_step", "append_events", "reserve_call",
    "reserve_call", "settle_call", "settle_call", "take_lane", "wake_jobs", "rescue_jobs", "beat",
    "release_worker", "read_events", "insert_job", "cancel_job", "signal_job", "set_budget",
)  # fmt: skip
_NUMBER_MEAN = 15
_COUNT_MAX = 14


class FaultKind(StrEnum):
    """What can go wrong."""

    REFUSED = "refused"
    """The store is unavailable before a write takes effect."""
    UNANSWERED = "unanswered"
    """The store commits a write, and its caller is told that the store is unavailable."""
    CRASH_BEFORE = "crash before"
    """The worker is killed as it sends a write, which never arrives."""
    CRASH_AFTER = "crash after"
    """The worker is killed when its write has been committed, before it knows."""
    SLOW = "slow"
    """A write arrives much later than it was sent, maybe under a lease that is lost by then."""
    OUTAGE = "outage"
    """The store is unavailable to all for a while."""
    CRASH = "crash"
    """A worker is killed, whatever it is doing; another life begins later."""
    PAUSE = "pause"
    """A worker is stopped and goes on later as if nothing had happened: SIGSTOP, a laptop's lid."""
    DRAIN = "drain"
    """A worker is told to leave; another life begins later."""
    STEP = "clock step"
    """A worker's clock is set to another time."""
    DEAF = "deaf"
    """A worker hears no hint and no announcement for a while."""
    ECHO = "echo"
    """Announcements are delivered twice, late and out of order for a while."""
    PROVIDER = "provider"
    """The provider refuses a call or takes longer than the call may."""


_ON_VERBS = (
    FaultKind.REFUSED,
    FaultKind.UNANSWERED,
    FaultKind.CRASH_BEFORE,
    FaultKind.CRASH_AFTER,
    FaultKind.SLOW,
)
_ON_WORKERS = (FaultKind.CRASH, FaultKind.PAUSE, FaultKind.DRAIN, FaultKind.STEP, FaultKind.DEAF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong."""

    kind: FaultKind
    verb: str = ""
    """Of the store, where the kind strikes a verb."""
    number: int = 0
    """Which call of the verb, or of the provider, over all workers, from 1."""
    worker: int = 0
    at: float = 0.0
    """Virtual seconds from the beginning."""
    seconds: float = 0.0
    """How long it lasts; until the next life begins; by how much a clock is set forward."""

    def __str__(self) -> str:
        if self.verb:
            late = f", {self.seconds:.1f} s late" if self.kind is FaultKind.SLOW else ""
            return f"{self.kind}: {self.verb} number {self.number}{late}"
        if self.kind is FaultKind.PROVIDER:
            return (
                f"provider: call number {self.number} takes {self.seconds:.1f} s too long or is refused"
            )
        whom = f" of worker {self.worker}" if self.kind in _ON_WORKERS else ""
        return f"{self.kind}{whom} at {self.at:.1f} s, {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What somebody does to a job from outside."""

    verb: str
    """`cancel`, `signal` or `budget`."""
    at: float

    def __str__(self) -> str:
        return f"{self.verb} at {self.at:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """A job and what people do to it."""

    kind: str
    size: int
    """How many steps, roughly."""
    at: float
    deeds: tuple[Deed, ...] = ()

    def __str__(self) -> str:
        return f"job {self.kind}({self.size}) at {self.at:.1f} s" + "".join(
            f", {deed}" for deed in self.deeds
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All of a simulation, but for the small change of latencies, which follows from the seed."""

    seed: int
    clock_rates: tuple[float, ...]
    """One worker for each; how fast its clock runs."""
    jobs: tuple[PlannedJob, ...]
    faults: tuple[Fault, ...]

    def lines(self) -> list[str]:
        """Tell the plan to people."""
        rates = ", ".join(f"{rate:.3f}" for rate in self.clock_rates)
        return [f"seed {self.seed}", f"workers with clocks at {rates}", *map(str, self.jobs)] + [
            f"fault {fault}" for fault in self.faults
        ]


def plan_of(seed: int, *, only: tuple[FaultKind, ...] = ()) -> Plan:
    """Return the plan that belongs to a seed; the smaller part of all seeds has no faults.

    Args:
        seed: Any number.
        only: Have many faults, and of these kinds alone.
    """
    draw = random.Random(f"{seed}/plan")
    workers = draw.randint(1, 3)
    # Most runs have a few kinds of trouble only, so that each kind is also seen by itself.
    kinds = draw.sample(list(FaultKind), draw.choice((0, 1, 1, 2, 3, 4, len(FaultKind))))
    count = draw.choice((1, 2, 4, 8, _COUNT_MAX)) if kinds else 0
    if only:
        kinds, count = list(only), _COUNT_MAX
    return Plan(
        seed=seed,
        clock_rates=tuple(draw.choice((1.0, 1.0, 0.98, 1.02)) for _ in range(workers)),
        jobs=tuple(_job(draw) for _ in range(draw.randint(1, 6))),
        faults=tuple(_fault(draw, draw.choice(kinds), workers) for _ in range(count)),
    )


def _job(draw: random.Random) -> PlannedJob:
    kind, at = draw.choice(KINDS), draw.uniform(0.0, HORIZON_SECONDS / 2)
    deeds = []
    if draw.random() < 0.25:
        deeds.append(Deed(verb="cancel", at=at + draw.expovariate(1 / 6)))
    if kind in ("signalled", "two_waits"):
        deeds.append(Deed(verb="signal", at=at + draw.uniform(0.0, 20.0)))
    if kind == "budgeted":
        deeds.append(Deed(verb="budget", at=at + draw.uniform(0.0, 20.0)))
    return PlannedJob(kind=kind, size=draw.randint(1, 5), at=at, deeds=tuple(deeds))


def _fault(draw: random.Random, kind: FaultKind, workers: int) -> Fault:
    if kind in _ON_VERBS:
        verb = draw.choice(_VERBS)
        number = 1 + int(draw.expovariate(1 / _NUMBER_MEAN))
        return Fault(kind=kind, verb=verb, number=number, seconds=draw.uniform(0.5, 30.0))
    if kind is FaultKind.PROVIDER:
        number, late = 1 + int(draw.expovariate(1 / _NUMBER_MEAN)), draw.choice((0.0, 30.0))
        return Fault(kind=kind, number=number, seconds=late)
    # Most dangerous is who comes back just after having been given up.
    ranges = ((0.1, 3.0), (LEASE_SECONDS, 1.5 * LEASE_SECONDS), (3.0, 2.5 * LEASE_SECONDS))
    seconds = draw.uniform(*draw.choice(ranges))
    if kind is FaultKind.STEP:
        seconds = draw.uniform(-60.0, 60.0)
    return Fault(
        kind=kind,
        worker=draw.randrange(workers),
        at=draw.uniform(0.0, HORIZON_SECONDS),
        seconds=seconds,
    )
