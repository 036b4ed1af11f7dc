"""How each kind of fault is brought about."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from typing import TYPE_CHECKING, Any

from holdfast.dispatch.celery_task import RUN_TASK
from holdfast.testing.chaos.schedule import STEPPED_WORKER, FaultKind
from holdfast.testing.chaos.stage import clock_file
from holdfast.testing.servers.redis import Redis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.testing.chaos.schedule import Fault
    from holdfast.testing.chaos.stage import Stage

logger = logging.getLogger(__name__)

_ECHOES = 40
"""Jobs whose messages come again."""


class Faults:
    """Brings a schedule about."""

    def __init__(self, stage: Stage, *, since: float = 0.0) -> None:
        """Take the stage.

        Args:
            stage: Where to strike.
            since: Second of the run from which the schedule counts.
        """
        self._stage = stage
        self._since = since
        self._store_lock = asyncio.Lock()
        self._broker_lock = asyncio.Lock()
        self.log: list[str] = []
        """What was done, in order, for the report."""

    async def bring_about(self, faults: Sequence[Fault]) -> None:
        """Return once every fault has struck and is over."""
        stage = self._stage
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0.0, self._since + fault.at - stage.now()))
                group.create_task(self._strike(fault))

    async def _strike(self, fault: Fault) -> None:
        began = self._stage.now()
        if fault.kind in _ON_WORKERS:
            what = await self._worker(fault)
        elif fault.kind is FaultKind.CLOCK:
            what = self._step_clock(fault.seconds)
        elif fault.kind is FaultKind.ECHO:
            what = await self._echo(fault)
        elif fault.kind in (FaultKind.WIPE, FaultKind.BROKER_RESTART):
            async with self._broker_lock:
                what = await self._broker(fault)
        else:
            async with self._store_lock:
                what = await self._store(fault)
        self.log.append(f"{began:6.1f} to {self._stage.now():6.1f} s  {fault.kind}: {what}")

    async def _worker(self, fault: Fault) -> str:
        fleet = self._stage.fleet
        life = fleet.at(fault.worker)
        if life is None:
            return f"{fleet.posts[fault.worker].name} was not there"
        if fault.kind is FaultKind.DRAIN and life.leaving:
            return f"{life.name} is leaving already"
        if fault.kind is FaultKind.PAUSE:
            fleet.tell(life, signal.SIGSTOP)
            await asyncio.sleep(fault.seconds)
            fleet.tell(life, signal.SIGCONT)
        else:
            fleet.tell(life, _ON_WORKERS[fault.kind])
        return life.name

    def _step_clock(self, seconds: float) -> str:
        file = clock_file(self._stage.folder)
        fresh = file.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(file)
        return f"worker {STEPPED_WORKER} is wrong by {seconds:+.0f} s"

    async def _store(self, fault: Fault) -> str:
        store = self._stage.store
        if fault.kind is FaultKind.CUT:
            return f"{await asyncio.to_thread(store.cut_all_connections)} connections"
        end = store.kill if fault.kind is FaultKind.STORE_KILL else store.stop
        await self._stage.outage("store", store, end, fault.seconds)
        return "back again"

    async def _broker(self, fault: Fault) -> str:
        broker = self._stage.broker
        if broker is None:
            return "there is none"
        if fault.kind is FaultKind.BROKER_RESTART:
            await self._stage.outage("broker", broker, broker.stop, fault.seconds)
            return "back again"
        if isinstance(broker, Redis):
            await asyncio.to_thread(broker.flushall)
            return "flushed"
        dropped = [await asyncio.to_thread(broker.purge, queue) for queue in queue_names(self._stage)]
        return f"{sum(dropped)} messages purged"

    async def _echo(self, fault: Fault) -> str:
        """Deliver messages again, twice and in another order now, and once more late."""
        draw = random.Random(fault.at)
        names = sorted(self._stage.job_ids)
        chosen = [self._stage.job_ids[name] for name in draw.sample(names, min(len(names), _ECHOES))]
        again = [job_id for job_id in chosen for _ in range(2)]
        draw.shuffle(again)
        sent = await self._send(again)
        await asyncio.sleep(fault.seconds)
        draw.shuffle(chosen)
        return f"{sent} messages at once, {await self._send(chosen)} late"

    async def _send(self, job_ids: Sequence[str]) -> int:
        celery = self._stage.app.broker()
        if celery is None:
            return 0

        async with self._broker_lock:
            return await asyncio.to_thread(self._publish, celery, job_ids)

    def _publish(self, celery: Any, job_ids: Sequence[str]) -> int:
        queues = queue_names(self._stage)
        sent = 0
        for job_id in job_ids:
            for _ in range(2):
                try:
                    # All to one queue: a message in another line than its job's is one more oddity.
                    celery.send_task(
                        RUN_TASK, (job_id,), queue=queues[0], ignore_result=True, retry=False
                    )
                except Exception as error:  # noqa: BLE001 - each broker's client raises its own
                    # The connection that is held did not survive a restart; the next one is new.
                    logger.debug("not sent", extra={"error": type(error).__name__})
                else:
                    sent += 1
                    break
        return sent


_ON_WORKERS = {
    FaultKind.KILL: signal.SIGKILL,
    FaultKind.PAUSE: signal.SIGSTOP,
    FaultKind.DRAIN: signal.SIGTERM,
}


def queue_names(stage: Stage) -> list[str]:
    """Return the names of the queues in the broker."""
    registry, prefix = stage.scene.registry, stage.app.settings.queue_prefix
    return sorted({f"{prefix}{registry.get(kind).queue}" for kind in registry.names})
