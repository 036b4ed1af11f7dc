"""What goes wrong in a chaos run, and when: a plain value that follows from its seed."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence


class FaultKind(StrEnum):
    """What can go wrong."""

    KILL = "kill"
    """A worker gets SIGKILL; its supervisor starts another."""
    PAUSE = "pause"
    """A worker gets SIGSTOP, and SIGCONT when its lease is long over."""
    DRAIN = "drain"
    """A worker gets SIGTERM, as in a rolling deploy; another is started when it has left."""
    WIPE = "wipe"
    """The broker forgets all messages: FLUSHALL, or a purge of the queues."""
    BROKER_RESTART = "broker restart"
    """The broker is stopped, and started again after a while."""
    STORE_RESTART = "store restart"
    """PostgreSQL is stopped, and started again."""
    STORE_KILL = "store kill"
    """All processes of PostgreSQL get SIGKILL, and it is started again."""
    CUT = "cut"
    """All connections to PostgreSQL are ended, as a failover does."""
    ECHO = "echo"
    """Messages of jobs, also of finished ones, are delivered twice, and once more much later."""
    CLOCK = "clock"
    """The clock of one worker is set to another time."""


ON_WORKERS = frozenset({FaultKind.KILL, FaultKind.PAUSE, FaultKind.DRAIN})
ON_BROKER = frozenset({FaultKind.WIPE, FaultKind.BROKER_RESTART, FaultKind.ECHO})
ON_STORE = frozenset({FaultKind.STORE_RESTART, FaultKind.STORE_KILL, FaultKind.CUT})

CLOCK_STEP_SECONDS = 60.0
STEPPED_WORKER = 0
"""The one whose clock is set."""

_OFTEN = (FaultKind.KILL, FaultKind.KILL, FaultKind.PAUSE, FaultKind.DRAIN)
"""Once more for each round of all kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong."""

    at: float
    """Seconds from the beginning."""
    kind: FaultKind
    worker: int = 0
    """Which one, for kinds that strike a worker."""
    seconds: float = 0.0
    """How long a worker is stopped, a server down, a message late; by how much a clock is wrong."""

    def __str__(self) -> str:
        whom = f" of worker {self.worker}" if self.kind in ON_WORKERS or self.kind == "clock" else ""
        told = f", {self.seconds:+.1f} s" if self.seconds else ""
        return f"{self.at:6.1f} s  {self.kind}{whom}{told}"


def plan(
    seed: int, *, seconds: float, workers: int, lease_seconds: float, gap_seconds: float, broker: bool
) -> tuple[Fault, ...]:
    """Draw a schedule.

    Kinds come in shuffled rounds of all of them, so that a short run has each, too.

    Args:
        seed: The same one gives the same schedule.
        seconds: How long things go wrong.
        workers: How many there are to strike.
        lease_seconds: How long a worker must be stopped at least to lose its jobs.
        gap_seconds: Between faults, on average.
        broker: Whether there is one.
    """
    draw = random.Random(f"{seed}/chaos")
    faults: list[Fault] = []
    at = draw.uniform(0.5, 1.0) * gap_seconds
    kinds: list[FaultKind] = []
    while at < seconds:
        if not kinds:
            kinds = [kind for kind in FaultKind if broker or kind not in ON_BROKER] + list(_OFTEN)
            draw.shuffle(kinds)
        kind = kinds.pop()
        lasts = {
            FaultKind.PAUSE: lease_seconds + draw.uniform(1.0, lease_seconds),
            FaultKind.BROKER_RESTART: draw.uniform(0.5, 4.0),
            FaultKind.STORE_RESTART: draw.uniform(0.0, 0.2 * lease_seconds),
            FaultKind.STORE_KILL: draw.uniform(0.0, 0.2 * lease_seconds),
            FaultKind.ECHO: draw.uniform(1.0, seconds / 2),
            FaultKind.CLOCK: draw.choice((-1, 1)) * CLOCK_STEP_SECONDS,
        }.get(kind, 0.0)
        worker = draw.randrange(workers) if kind in ON_WORKERS else STEPPED_WORKER
        faults.append(Fault(at=round(at, 2), kind=kind, worker=worker, seconds=round(lasts, 2)))
        at += draw.uniform(0.3, 1.7) * gap_seconds
    return tuple(faults)


def summary(faults: Iterable[Fault]) -> str:
    """Return the kinds with their counts."""
    counts = Counter(fault.kind for fault in faults)
    return ", ".join(f"{kind} {count}" for kind, count in counts.most_common()) or "none"


def to_json(faults: Iterable[Fault]) -> str:
    """Write a schedule as JSON, to be replayed."""
    return json.dumps([asdict(fault) for fault in faults], indent=1)


def from_json(text: str) -> tuple[Fault, ...]:
    """Read what `to_json` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        return tuple(Fault(**{**each, "kind": FaultKind(each["kind"])}) for each in json.loads(text))
    except (TypeError, KeyError) as error:
        raise ValueError(f"this is no schedule of faults: {error}") from None


async def shrink(
    faults: Sequence[Fault], fails: Callable[[tuple[Fault, ...]], Awaitable[bool]], *, tries: int
) -> tuple[Fault, ...]:
    """Return fewer faults that still fail, as far as so many tries get.

    First halves are left out, then quarters, down to single faults. A run that happens to go well
    keeps its faults in: what is left is enough to fail, maybe not the least.
    """
    kept = tuple(faults)
    size = (len(kept) + 1) // 2
    while size and tries:
        first = 0
        while first < len(kept) and tries:
            smaller = kept[:first] + kept[first + size :]
            tries -= 1
            if smaller and await fails(smaller):
                kept = smaller
            else:
                first += size
        size = min(size // 2, len(kept) // 2)
    return kept
