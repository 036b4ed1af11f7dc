"""An event loop on a virtual clock: no sockets, no threads, no waiting, the same order every time.

When nothing is ready the time jumps to the next timer. Each task belongs to a `Process`, a part of
the simulation that can be paused or killed from one moment to the next, in the middle of anything,
as an operating system does it: not one more line of it runs, not even a `finally`.
"""

# ruff: noqa: SLF001 - an event loop owns its handles and tasks, whatever asyncio calls private

from __future__ import annotations

import asyncio
import heapq
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections import deque
    from collections.abc import Callable, Coroutine

_TURNS_PER_MOMENT_MAX = 20_000
"""Turns of the loop without time going by, before this counts as an endless loop."""


class Deadlock(Exception):  # noqa: N818 - a finding, not an error of a caller
    """Nothing is ready and nothing is scheduled: what is awaited can never happen."""


class Process:
    """What lives and dies together; the loop asks it before it runs anything that belongs to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        """Killed: nothing of it ever runs again."""
        self.paused = False
        """Stopped: what would have run is held back until it is resumed."""
        self.held: list[asyncio.Handle] = []

    def __repr__(self) -> str:
        return self.name


PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
"""The process that the running code belongs to; None for the world around them."""


class SimulatedTask(asyncio.Task[Any]):
    """A task with a number, so that the order of tasks does not depend on addresses in memory."""

    number: int
    _log_destroy_pending: bool


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs tasks in an order that the generator alone decides."""

    # What asyncio's own loop keeps, and its type stubs do not tell.
    _ready: deque[asyncio.Handle]
    _scheduled: list[Any]
    _timer_cancelled_count: int

    def __init__(self, generator: random.Random) -> None:
        super().__init__()
        self._generator = generator
        self._present = 0.0
        self._tasks_made = 0
        self._turns = 0
        self.tasks: list[SimulatedTask] = []
        """All tasks ever made: kept, because those of a killed process must not be cleared away."""
        self.troubles: list[str] = []
        """What was reported to the loop's exception handler."""
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]
        self.set_exception_handler(self._note_trouble)

    def time(self) -> float:
        """Return the virtual seconds since the simulation began."""
        return self._present

    def resume(self, process: Process) -> None:
        """Let a paused process go on: everything that was held back is ready at once."""
        process.paused = False
        held, process.held = process.held, []
        self._ready.extend(held)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Run the function on the loop a moment later: there are no threads."""
        del executor
        future = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except BaseException as error:  # noqa: BLE001 - handed to whoever awaits it
                future.set_exception(error)

        self.call_later(self._generator.uniform(0.0, 0.002), run)
        return future

    # the loop's own workings ---------------------------------------------------------------------

    def _run_once(self) -> None:
        if self._ready:
            self._turns += 1
            if self._turns > _TURNS_PER_MOMENT_MAX:
                raise Deadlock(f"time stands still at {self._present:.3f} s: an endless loop")
        else:
            self._advance()
        self._take_due()
        for handle in self._in_order():
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)  # type: ignore[attr-defined]
            if process is None or not (process.dead or process.paused):
                handle._run()
            else:
                # Kept even for the dead: `bury` needs it to end their tasks.
                process.held.append(handle)

    def _advance(self) -> None:
        """Jump to the next timer."""
        while self._scheduled and self._scheduled[0]._cancelled:
            self._forget(heapq.heappop(self._scheduled))
        if not self._scheduled:
            raise Deadlock(f"nothing is scheduled at {self._present:.3f} s")
        self._turns = 0
        self._present = max(self._present, self._scheduled[0]._when)

    def _take_due(self) -> None:
        while self._scheduled and self._scheduled[0]._when <= self._present:
            handle = heapq.heappop(self._scheduled)
            self._forget(handle)
            if not handle._cancelled:
                self._ready.append(handle)

    def _forget(self, handle: Any) -> None:
        if handle._cancelled:
            self._timer_cancelled_count -= 1
        handle._scheduled = False

    def _in_order(self) -> list[asyncio.Handle]:
        """Take what is ready: callbacks keep their places, tasks are dealt anew among theirs.

        Tasks become ready in the order of sets, which differs from run to run; and whatever order
        one event loop happens to keep, nobody may rely on it.
        """
        ready: list[asyncio.Handle] = list(self._ready)
        self._ready.clear()
        if len(ready) == 1:
            return ready
        places, tasks = [], []
        for place, handle in enumerate(ready):
            task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
            if isinstance(task, SimulatedTask):
                places.append(place)
                tasks.append((task.number, place))
        if len(places) > 1:
            tasks.sort()
            self._generator.shuffle(tasks)
            dealt = [ready[place] for _, place in tasks]
            for place, handle in zip(places, dealt, strict=True):
                ready[place] = handle
        return ready

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any],
        context: Context | None = None,
        **options: Any,
    ) -> SimulatedTask:
        process = PROCESS.get()
        context = copy_context() if context is None else context
        # A task with an empty context belongs to whoever made it all the same.
        context.run(PROCESS.set, process)
        task = SimulatedTask(coroutine, loop=loop, context=context, **options)
        self._tasks_made += 1
        task.number = self._tasks_made
        self.tasks.append(task)
        return task

    def _note_trouble(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.troubles.append(f"{context.get('message')}: {error!r}")

    def _process_events(self, event_list: Any) -> None:
        """Do nothing: there are no sockets."""

    def _write_to_self(self) -> None:
        """Do nothing: nobody calls from another thread."""


def run_simulated(loop: SimulatedLoop, main: Coroutine[Any, Any, Any], *, until: float) -> Any:
    """Run `main` to its end and return what it gave.

    Raises:
        Deadlock: It can never end.
        TimeoutError: It has not ended by the virtual time `until`.
    """

    async def bounded() -> Any:
        async with asyncio.timeout(until):
            return await main

    return loop.run_until_complete(bounded())


def bury(loop: SimulatedLoop, processes: list[Process]) -> None:
    """End every task that is left, those of killed processes included; the results are of no use.

    Each process must have been cut off from everything it could change before.
    """
    for process in processes:
        process.dead = False
        loop.resume(process)
    for _ in range(_BURIAL_ROUNDS):
        left = [task for task in loop.tasks if not task.done()]
        if not left:
            break
        for task in left:
            task.cancel()
        gathered = asyncio.gather(*left, return_exceptions=True)
        try:
            loop.run_until_complete(asyncio.wait_for(gathered, _BURIAL_SECONDS))
        except (TimeoutError, asyncio.CancelledError, Deadlock):
            continue
    for task in loop.tasks:
        if task.done():
            # Looked at, so that nobody is warned of what became of the dead.
            task.cancelled() or task.exception()
        else:
            task._log_destroy_pending = False
    loop.tasks.clear()
    loop.close()
    asyncio.set_event_loop(None)


_BURIAL_ROUNDS = 5
_BURIAL_SECONDS = 1_000.0
