"""Signals: the first asks for an orderly end, the second ends the process at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WATCHED = (signal.SIGINT, signal.SIGTERM)
_ECHO_SECONDS = 0.5
"""The same signal again within this time is an echo: `timeout`, `make` and other parents pass a
signal on that the terminal has sent to the whole group already."""


class Interruption:
    """Waits for SIGINT and SIGTERM within one event loop."""

    def __init__(self, on_first: Callable[[], None], on_second: Callable[[], None]) -> None:
        """Say what to tell people.

        Args:
            on_first: Called at the first signal.
            on_second: Called at the second, right before the process ends.
        """
        self.requested = asyncio.Event()
        """Set at the first signal."""
        self.received: signal.Signals | None = None
        """The first signal."""
        self._received_at = 0.0
        self._on_first = on_first
        self._on_second = on_second

    @property
    def exit_status(self) -> int:
        """By the shell's custom: 128 and the number of the signal."""
        return 128 + (self.received or signal.SIGINT)

    @contextlib.contextmanager
    def watching(self) -> Iterator[Interruption]:
        """Take over the signals for the duration of the block."""
        loop = asyncio.get_running_loop()
        for number in _WATCHED:
            loop.add_signal_handler(number, self._receive, number)
        try:
            yield self
        finally:
            for number in _WATCHED:
                loop.remove_signal_handler(number)

    def _receive(self, number: signal.Signals) -> None:
        now = asyncio.get_running_loop().time()
        if self.received is number and now - self._received_at < _ECHO_SECONDS:
            return
        if self.received is None:
            self.received, self._received_at = number, now
            self.requested.set()
            self._on_first()
            return
        self._on_second()
        sys.stdout.flush()
        sys.stderr.flush()
        # The store is made for this: the lease runs out, child processes end with their parent.
        os._exit(128 + number)
