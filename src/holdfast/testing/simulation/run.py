"""One simulation from beginning to end: set up, let it happen, audit, clear away."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast import ids
from holdfast.errors import JobFinishedError, StoreError
from holdfast.model import Budget
from holdfast.store.base import NewJob
from holdfast.testing.simulation.audit import audit
from holdfast.testing.simulation.clock import DriftingClock
from holdfast.testing.simulation.jobs import (
    BUDGET_TOKENS_RAISED,
    simulated_jobs,
)
from holdfast.testing.simulation.loop import Deadlock, Process, SimulatedLoop, bury, run_simulated
from holdfast.testing.simulation.plan import HORIZON_SECONDS, FaultKind
from holdfast.testing.simulation.provider import SimulatedProvider
from holdfast.testing.simulation.store import Database, InlineStore, Road
from holdfast.testing.simulation.worker import Machine
from holdfast.testing.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.testing.simulation.plan import Deed, Fault, Plan, PlannedJob

PROGRESS_SECONDS_MAX = 300.0
"""Every job ends within this much virtual time after nothing goes wrong any more."""

_ASK_AGAIN_SECONDS = 1.0
_ANSWER_SECONDS_MAX = 40.0
_LAST_LOOK_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a simulation."""

    plan: Plan
    violations: tuple[str, ...]
    """What was not as promised; empty when all is well."""
    trace_hash: str
    """The same for every run of the same plan."""
    lines: tuple[str, ...]
    """Every verb that reached the store, if they were asked for."""
    seconds: float
    """Virtual."""
    verbs: int


def simulate(
    plan: Plan, *, verbose: bool = False, store_type: type[InlineStore] = InlineStore
) -> Report:
    """Run a plan to its end and audit what is left.

    Args:
        plan: What is to happen.
        verbose: Keep a line for every verb.
        store_type: The store to try; a broken one shows that the auditor can find something.
    """
    loop = SimulatedLoop(random.Random(f"{plan.seed}/loop"))
    chance = random.Random(f"{plan.seed}/ids")
    critical = _CriticalLog()
    logger = logging.getLogger("holdfast")
    level = logger.level
    logger.addHandler(critical)
    logger.setLevel(logging.CRITICAL)
    collecting = gc.isenabled()
    gc.disable()  # what is collected when must not depend on what ran before
    world, machines = _build(plan, loop, store_type)
    world.database.lines = [] if verbose else None
    try:
        asyncio.set_event_loop(loop)
        with ids.determined_by(chance, lambda: round(loop.time() * 1e9)):
            violations = _run(world, machines)
            violations += [f"critical log: {line}" for line in critical.lines]
            report = Report(
                plan=plan,
                violations=tuple(violations),
                trace_hash=world.database.trace_hash,
                lines=tuple(world.database.lines or ()),
                seconds=loop.time(),
                verbs=world.database.verbs,
            )
            _cut_off(world, machines)
            bury(loop, world.processes)
    finally:
        logger.removeHandler(critical)
        logger.setLevel(level)
        world.database.store.discard()
        if collecting:
            gc.enable()
    return report


def _build(
    plan: Plan, loop: SimulatedLoop, store_type: type[InlineStore]
) -> tuple[World, list[Machine]]:
    draw = random.Random(f"{plan.seed}/network")
    store = store_type(DriftingClock(loop))
    world = World(
        plan=plan,
        loop=loop,
        provider=SimulatedProvider(loop, plan.faults, random.Random(f"{plan.seed}/provider")),
        database=Database(loop, store, plan.faults, random.Random(f"{plan.seed}/latency")),
        draw=draw,
    )
    world.database.hear = world.hears
    machines = [Machine(world, number, rate) for number, rate in enumerate(plan.clock_rates)]
    world.machines = machines
    return world, machines


def _run(world: World, machines: list[Machine]) -> list[str]:
    try:
        run_simulated(world.loop, _drive(world, machines), until=HORIZON_SECONDS + PROGRESS_SECONDS_MAX)
    except TimeoutError:
        return [*audit(world), "stuck: not all jobs have ended"]
    except Deadlock as deadlock:
        return [f"deadlock: {deadlock}"]
    return audit(world)


async def _drive(world: World, machines: list[Machine]) -> None:
    """Be the world: boot the machines, submit the jobs, do the deeds, let things go wrong."""
    for machine in machines:
        machine.boot()
    for fault in world.plan.faults:
        if not fault.verb and fault.at:
            world.later(fault.at, lambda fault=fault: _befall(machines, fault))  # type: ignore[misc]
    process = Process("client")
    world.processes.append(process)
    client = Road(world.database, process, lambda: None)
    world.job_ids = [ids.new_id("job") for _ in world.plan.jobs]
    await asyncio.gather(
        *(_live(client, *both) for both in zip(world.job_ids, world.plan.jobs, strict=True))
    )
    while world.loop.time() < HORIZON_SECONDS or not _all_ended(world):  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
    # Who was paused for long may still try something.
    await asyncio.sleep(_LAST_LOOK_SECONDS)


def _befall(machines: list[Machine], fault: Fault) -> None:
    machine = machines[fault.worker]
    match fault.kind:
        case FaultKind.CRASH:
            machine.kill(machine.process, fault.seconds)
        case FaultKind.PAUSE:
            machine.pause(fault.seconds)
        case FaultKind.DRAIN:
            machine.drain(fault.seconds)
        case FaultKind.STEP:
            machine.clock.step(fault.seconds)
        case _:
            # The others are looked up by whom they concern.
            return


async def _live(client: Road, job_id: str, planned: PlannedJob) -> None:
    """Submit a job and do to it what the plan says."""
    await asyncio.sleep(planned.at)
    new = NewJob(
        job_id=job_id,
        kind=planned.kind,
        queue="default",
        input=b"%d" % planned.size,
        budget=simulated_jobs().get(planned.kind).budget,
    )
    await _insist(lambda: client.as_store.insert_job(new))
    for deed in sorted(planned.deeds, key=lambda deed: deed.at):
        await asyncio.sleep(max(0.0, deed.at - asyncio.get_running_loop().time()))
        await _insist(lambda deed=deed: _do(client, job_id, deed))  # type: ignore[misc]


async def _do(client: Road, job_id: str, deed: Deed) -> None:
    store = client.as_store
    match deed.verb:
        case "cancel":
            await store.cancel_job(job_id)
        case "signal":
            await store.signal_job(job_id, "go", b'"now"')
        case _:
            await store.set_budget(job_id, Budget(tokens=BUDGET_TOKENS_RAISED))


async def _insist(action: Callable[[], Any]) -> None:
    """Try again until the store has answered, as a careful caller does."""
    while True:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS_MAX):
                await action()
            return
        except JobFinishedError:
            return
        except (StoreError, TimeoutError):
            await asyncio.sleep(_ASK_AGAIN_SECONDS)


def _all_ended(world: World) -> bool:
    left = world.database.store.look("SELECT COUNT(*) FROM jobs WHERE finished_at IS NULL")
    return left == [(0,)]


def _cut_off(world: World, machines: list[Machine]) -> None:
    """Let nothing through any more: what happens from now on happens to nobody."""

    def refuse(*_: Any) -> Any:
        raise asyncio.CancelledError

    world.database.send = refuse  # type: ignore[assignment,method-assign]
    world.provider.complete = refuse  # type: ignore[assignment,method-assign]
    for machine in machines:
        machine.boot = lambda: None  # type: ignore[method-assign]


class _CriticalLog(logging.Handler):
    """Keeps what the engine itself calls critical: a defect in it."""

    def __init__(self) -> None:
        super().__init__(logging.CRITICAL)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.lines.append(f"{record.getMessage()}: {error!r}")
