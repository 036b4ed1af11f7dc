"""How large a chaos run is, and what belongs on its stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.testing.chaos import jobs, schedule
from holdfast.testing.chaos.fleet import Post
from holdfast.testing.chaos.stage import Scene, clock_file
from holdfast.testing.provider import ProviderSimulator

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How large a run is; times in seconds."""

    broker: str = "redis"
    """See `Scene`."""
    seconds: float = 300.0
    """How long things go wrong."""
    workers: int = 3
    jobs: int = 200
    steps: int = 20
    concurrency: int = 8
    """Jobs that each worker runs at once."""
    call_seconds: float = 2.0
    """How long the provider takes on average."""
    lease_seconds: float = 5.0
    gap_seconds: float = 5.0
    """Between faults, on average."""
    drain_grace_seconds: float = 15.0
    """How long steps may go on in a worker that leaves."""
    still_seconds: float = 60.0
    """How long nothing may move while jobs are left, once nothing goes wrong any more."""


def scene_of(options: Options, folder: Path) -> Scene:
    """Return what belongs on the stage: alike workers that serve all kinds."""
    return Scene(
        broker=options.broker,
        provider=ProviderSimulator(
            writer=jobs.SlowWriter(options.call_seconds), journal_path=folder / "provider.jsonl"
        ),
        registry=jobs.app.registry,
        posts=[
            Post(
                name=f"worker {number}",
                command=("worker", "--concurrency", str(options.concurrency)),
                environment={
                    jobs.CLOCK_VARIABLE: str(clock_file(folder))
                    if number == schedule.STEPPED_WORKER
                    else ""
                },
            )
            for number in range(options.workers)
        ],
        lease_seconds=options.lease_seconds,
        drain_grace_seconds=options.drain_grace_seconds,
        environment={"HOLDFAST_APP": f"{jobs.__name__}:app"},
    )
