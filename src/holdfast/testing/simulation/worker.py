"""A simulated machine: real workers, one life after the other, each a process that can be killed."""

from __future__ import annotations

import asyncio
from contextvars import Context
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from holdfast.engine.attempt import Services
from holdfast.engine.heartbeat import Heartbeat
from holdfast.engine.worker import Worker
from holdfast.errors import StoreError
from holdfast.llm.client import LLM
from holdfast.llm.config import LLMConfig, ModelConfig, Price
from holdfast.store.hints import QUEUED
from holdfast.testing.simulation.clock import DriftingClock
from holdfast.testing.simulation.jobs import DIARY
from holdfast.testing.simulation.loop import PROCESS, Process
from holdfast.testing.simulation.plan import LEASE_SECONDS
from holdfast.testing.simulation.provider import TIMEOUT_SECONDS
from holdfast.testing.simulation.store import Road

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from holdfast.artifacts.base import ArtifactStore
    from holdfast.testing.simulation.world import World

_RESTART_SECONDS = 2.0
_SLOTS = 4
_DRAIN_GRACE = timedelta(seconds=5)
_MODEL = ModelConfig(
    model="simulated-model",
    provider="simulated",
    requests_per_minute=600.0,
    tokens_per_minute=60_000.0,
    timeout_seconds=TIMEOUT_SECONDS,
    price=Price(input_per_million=Decimal(1), output_per_million=Decimal(2)),
)


class TaskHeartbeat(Heartbeat):
    """The heartbeat as a task of the worker's process: there are no threads here."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Register the worker, then beat until `stop`."""
        await self._send(first=True)
        self._task = asyncio.create_task(self._beat_on())

    def beat_now(self) -> None:
        """Beat without waiting for the interval."""
        self._awake.set()

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _beat_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._awake.wait()
            except TimeoutError:
                pass
            self._awake.clear()
            try:
                self._on_pulse(await self._send(first=False))
            except StoreError:
                # As the real one: the next beat may succeed.
                continue

    async def _send(self, *, first: bool) -> Any:
        # The road's `beat` waits for the answer instead of blocking.
        return await cast("Any", self._store).beat(self._record(), first=first)


class SimulatedDispatcher:
    """Announces to the workers of all machines, over a network that may lose and repeat it."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def dispatch(self, dispatches: Sequence[Any]) -> None:
        """Deliver to each machine, sometime; which job it is about does not matter."""
        for machine in self._world.machines:
            for delay in self._world.deliveries(machine) if dispatches else ():
                self._world.loop.call_later(delay, machine.hear, context=Context())


class SimulatedArtifacts:
    """Keeps large results; only what the engine itself needs of an `ArtifactStore`."""

    async def put_bytes(self, content: bytes) -> str:
        """Refuse: no simulated result is large."""
        raise NotImplementedError("simulated results are small")


class Machine:
    """Where one worker after the other runs."""

    def __init__(self, world: World, number: int, rate: float) -> None:
        self.number = number
        self.clock = DriftingClock(world.loop, rate=rate)
        self.process = Process("")
        self.lives = 0
        self._world = world
        self._road: Road | None = None
        self._worker: Worker | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def boot(self) -> None:
        """Begin a new life."""
        self.lives += 1
        self.process = process = Process(f"w{self.number}.{self.lives}")
        self._world.processes.append(process)
        self._road = Road(self._world.database, process, lambda: self.kill(process, _RESTART_SECONDS))
        self._worker = None
        self._run(self._work(self._road))

    def kill(self, process: Process, seconds: float) -> None:
        """End the present life in the middle of whatever it is doing, if it is the one meant."""
        if process.dead or process is not self.process:
            return
        process.dead = True
        self._world.database.tell(process, "-", "killed")
        self._world.later(seconds, self.boot)

    def pause(self, seconds: float) -> None:
        """Stop the process and let it go on later."""
        process = self.process
        if process.dead or process.paused:
            return
        process.paused = True
        self._world.database.tell(process, "-", "paused")
        self._world.later(seconds, lambda: self._world.loop.resume(process))

    def drain(self, seconds: float) -> None:
        """Tell the worker to leave; another one starts when it has gone."""
        if self._worker is not None and not self.process.dead:
            self._run(self._leave(self._worker, self.process, seconds))

    def hear(self) -> None:
        """Get an announcement."""
        if self._road is not None and not self.process.dead:
            self._road.hints.publish(QUEUED)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        context = Context()
        context.run(PROCESS.set, self.process)
        self._tasks.append(context.run(asyncio.get_running_loop().create_task, work))

    async def _work(self, road: Road) -> None:
        store = road.as_store
        llm = LLM(
            LLMConfig.single(_MODEL),
            {"simulated": self._world.provider},
            lanes=store,
            ledger=store,
            clock=self.clock,
        )
        DIARY.set(self._world.diary_for(llm, self.clock))
        services = Services(
            store=store,
            artifacts=cast("ArtifactStore", SimulatedArtifacts()),
            clock=self.clock,
            resources={LLM: llm},
        )
        worker = SimulatedWorker(
            services,
            self._world.registry,
            SimulatedDispatcher(self._world),
            slots=_SLOTS,
            drain_grace=_DRAIN_GRACE,
            lease_seconds=LEASE_SECONDS,
        )
        try:
            await worker.start()
        except StoreError:
            # As a supervisor does: the process ends with an error and is started again.
            self.kill(road.process, _RESTART_SECONDS)
            return
        self._worker = worker

    async def _leave(self, worker: Worker, process: Process, seconds: float) -> None:
        await worker.drain()
        self.kill(process, seconds)


class SimulatedWorker(Worker):
    """The real worker with a heartbeat that needs no thread."""

    heartbeat_class = TaskHeartbeat
