"""The branches of a job's code: which run a step, which wait, and when only waits are left."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from holdfast.model import SuspendReason

SUSPEND_GRACE_SECONDS = 0.1
"""How long an attempt with waiting branches may show no step before it suspends.

Code between steps may be on its way to the next step; it runs again after the wake-up anyway."""


@dataclass(slots=True, eq=False)
class Wait:
    """A branch of the job that waits for something other than a step."""

    reason: SuspendReason | None
    """None for a branch that only waits because the worker is draining."""
    until: datetime | None = None
    """When it ends by itself."""
    children: frozenset[str] = frozenset()
    """The children it waits for, for `SuspendReason.CHILDREN`."""


class Branches:
    """Counts what an attempt's branches do, and tells when nothing but waits is left."""

    __slots__ = ("_idle_timer", "_loop", "_on_idle", "_running", "_tasks", "main", "main_waits", "waits")

    def __init__(self, on_idle: Callable[[], None]) -> None:
        self.waits: list[Wait] = []
        """The branches that wait now."""
        self.main_waits = False
        """Whether the job function itself is in a wait."""
        self.main: asyncio.Task[object] | None = None
        """The task of the job function itself."""
        self._on_idle = on_idle
        self._running = 0
        self._tasks: set[asyncio.Task[object]] = set()
        """Tasks in a step or a wait: they end with the attempt even if job code let go of them."""
        self._loop = asyncio.get_running_loop()
        self._idle_timer: asyncio.TimerHandle | None = None

    def running_step(self) -> RunningStep:
        """Count a step as running within a `with` block: the attempt is not idle meanwhile."""
        return RunningStep(self)

    @contextlib.contextmanager
    def waiting(self, wait: Wait) -> Iterator[None]:
        """Count a branch as waiting: once nothing else is left, the attempt ends."""
        task = _current_task()
        self._tasks.add(task)
        self.waits.append(wait)
        is_main = task is self.main
        self.main_waits = self.main_waits or is_main
        # If the job's own task is the one that waits, there is no branch left to go on.
        self._look_idle(0.0 if is_main else SUSPEND_GRACE_SECONDS)
        try:
            yield
        finally:
            self._tasks.discard(task)
            if is_main:
                self.main_waits = False
            self.waits.remove(wait)
            self.stop_looking()
            self._look_idle()

    def begin_running(self) -> asyncio.Task[object]:
        """Count one more running step and return its task; see `running_step`."""
        task = _current_task()
        self._tasks.add(task)
        self._running += 1
        self.stop_looking()
        return task

    def end_running(self, task: asyncio.Task[object]) -> None:
        """Count one running step less; see `running_step`."""
        self._tasks.discard(task)
        self._running -= 1
        self._look_idle()

    def cancel(self) -> list[asyncio.Task[object]]:
        """Cancel the branches beside the job's own task and return them."""
        left = [task for task in self._tasks if task is not self.main]
        for task in left:
            task.cancel()
        return left

    def stop_looking(self) -> None:
        """Forget that the attempt looked idle."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _look_idle(self, seconds: float = SUSPEND_GRACE_SECONDS) -> None:
        """Tell soon if only waits are left, unless a step begins or a wait ends before."""
        if self._running or not self.waits or self._idle_timer is not None:
            return
        self._idle_timer = self._loop.call_later(seconds, self._tell_idle)

    def _tell_idle(self) -> None:
        self._idle_timer = None
        self._on_idle()


class RunningStep:
    """A step's time as a running one; a context manager, made for each step, so kept small."""

    __slots__ = ("_branches", "_task")

    def __init__(self, branches: Branches) -> None:
        self._branches = branches

    def __enter__(self) -> None:
        self._task = self._branches.begin_running()

    def __exit__(self, *error: object) -> None:
        self._branches.end_running(self._task)


def _current_task() -> asyncio.Task[object]:
    # Coroutines of job code only ever run in tasks.
    return cast("asyncio.Task[object]", asyncio.current_task())
