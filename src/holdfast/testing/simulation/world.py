"""What the machines of one simulation share."""

from __future__ import annotations

from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from holdfast.testing.simulation.jobs import Diary, Memory, simulated_jobs
from holdfast.testing.simulation.plan import FaultKind

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from holdfast.clock import Clock
    from holdfast.engine.registry import Registry
    from holdfast.llm.client import LLM
    from holdfast.testing.simulation.loop import Process, SimulatedLoop
    from holdfast.testing.simulation.plan import Plan
    from holdfast.testing.simulation.provider import SimulatedProvider
    from holdfast.testing.simulation.store import Database, Road


class Listener(Protocol):
    """A machine as far as the network knows it."""

    number: int
    process: Process

    def hear(self) -> None:
        """Get an announcement."""
        ...


@dataclass(slots=True)
class World:
    """Everything that the machines of one simulation share."""

    plan: Plan
    loop: SimulatedLoop
    provider: SimulatedProvider
    database: Database
    draw: random.Random
    registry: Registry = field(default_factory=simulated_jobs)
    machines: Sequence[Listener] = ()
    processes: list[Process] = field(default_factory=list)
    job_ids: list[str] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        """Do something in virtual time, as the world and not as a process."""
        self.loop.call_later(seconds, function, context=Context())

    def diary_for(self, llm: LLM, clock: Clock) -> Diary:
        """Return the diary that the code of a process writes into."""
        return Diary(
            memory=self.memory,
            is_finished=self._is_finished,
            is_owner=self._is_owner,
            llm=llm,
            sleep=clock.sleep,
        )

    def deliveries(self, machine: Listener) -> list[float]:
        """Return after which delays a machine hears an announcement."""
        if self._afflicts(FaultKind.DEAF, machine):
            return []
        first = self.draw.uniform(0.001, 0.05)
        if self._afflicts(FaultKind.ECHO, machine):
            return [self.draw.uniform(0.0, 20.0), first]
        return [first]

    def hears(self, road: Road) -> bool:
        """Tell whether a hint gets through to a process."""
        return not any(
            machine.process is road.process and self._afflicts(FaultKind.DEAF, machine)
            for machine in self.machines
        )

    def _afflicts(self, kind: FaultKind, machine: Listener) -> bool:
        present = self.loop.time()
        return any(
            fault.kind is kind
            and fault.at <= present < fault.at + fault.seconds
            and fault.worker == machine.number
            for fault in self.plan.faults
        )

    def _is_finished(self, job_id: str, key: str) -> bool:
        rows = self.database.store.look(
            "SELECT job_id, key FROM checkpoints JOIN jobs ON jobs.id = job WHERE finished = 1"
        )
        return (job_id, key) in rows

    def _is_owner(self, job_id: str, epoch: int) -> bool:
        rows = self.database.store.look("SELECT job_id, epoch FROM jobs WHERE status = 'running'")
        return (job_id, epoch) in rows
