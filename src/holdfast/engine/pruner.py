"""Background role of a worker: deletes jobs past their retention."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from holdfast.errors import StoreError
from holdfast.metrics import JOBS_PRUNED
from holdfast.store.base import PruneRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from datetime import timedelta

    from holdfast.clock import Clock
    from holdfast.engine.registry import Registry
    from holdfast.engine.retention import Retention

logger = logging.getLogger(__name__)

PRUNE_INTERVAL_SECONDS = 600.0
"""The pruner looks this often while it finds nothing."""

PRUNE_PAUSE_SECONDS = 0.1
"""Between two rounds while there is more: everybody else's writes come first."""


class Pruner:
    """Deletes finished jobs of the kinds that the application knows, as old as each may get."""

    def __init__(self, retention: Retention, registry: Registry, clock: Clock) -> None:
        self._retention = retention
        self._registry = registry
        self._clock = clock

    @property
    def roles(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """What the worker has to run: nothing, where every job is kept."""
        return (self.run,) if self._registry.retention else ()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._clock.sleep(await self.work())

    async def work(self) -> float:
        """Do one round, one small transaction for each kind; return the seconds until the next."""
        more = False
        for kind, keep in self._registry.retention.items():
            try:
                more |= await self._prune(kind, keep)
            except StoreError as error:
                logger.warning("pruning failed", extra={"kind": kind, "error": error.code})
        return PRUNE_PAUSE_SECONDS if more else PRUNE_INTERVAL_SECONDS

    async def _prune(self, kind: str, keep: timedelta) -> bool:
        removal = await self._retention.prune(PruneRequest(kind=kind, older_than=keep))
        if removal.job_ids:
            JOBS_PRUNED.labels(kind).inc(len(removal.job_ids))
            told = {"kind": kind, "jobs": len(removal.job_ids), "files": removal.files}
            logger.info("jobs pruned", extra=told)
        return removal.more
