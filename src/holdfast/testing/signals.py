"""What tests wait on instead of sleeping."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_SECONDS = 0.005
PATIENCE_SECONDS = 10.0


class Mark:
    """Something that happens during a test: code under test hits it, the test waits for it.

    May be hit from any thread; made on the event loop of the test.
    """

    def __init__(self) -> None:
        self.values: list[Any] = []
        """What each hit told, in order."""
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How often it was hit."""
        return len(self.values)

    def hit(self, value: Any = None) -> None:
        """Tell that it happened."""
        with self._lock:
            self.values.append(value)
        self._loop.call_soon_threadsafe(self._changed.set)

    async def wait(self, times: int = 1) -> Any:
        """Return the last value once it was hit `times` times.

        Raises:
            TimeoutError: That took longer than `PATIENCE_SECONDS`.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.count < times:
                self._changed.clear()
                await self._changed.wait()
        return self.values[-1]


class Gate:
    """Holds code under test up until the test opens it; says who has come to it.

    `asyncio` code passes by `await gate.through()`, a thread by `gate.through_thread()`.
    """

    def __init__(self) -> None:
        self.reached = Mark()
        """Hit by everyone who comes to the gate."""
        self._event = asyncio.Event()
        self._thread_event = threading.Event()

    def open(self) -> None:
        """Let everyone through, now and later."""
        self._event.set()
        self._thread_event.set()

    async def through(self, value: Any = None) -> None:
        """Tell that the gate was reached and wait until it is open."""
        self.reached.hit(value)
        await self._event.wait()

    def through_thread(self, value: Any = None) -> None:
        """Do the same as `through` in a thread.

        Raises:
            TimeoutError: The gate was not opened within `PATIENCE_SECONDS`.
        """
        self.reached.hit(value)
        if not self._thread_event.wait(PATIENCE_SECONDS):
            raise TimeoutError("nobody opened the gate")


async def eventually(holds: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
    """Return once `holds()` is true; for what cannot tell of itself, such as the end of a process.

    Raises:
        TimeoutError: It was still false after `seconds`.
    """
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(POLL_SECONDS)
