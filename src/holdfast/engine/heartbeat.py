"""The heartbeat of a worker, from a thread of its own.

Neither thousands of jobs nor a busy event loop make a healthy worker look dead. A loop that has
been blocked for too long is another matter: it is reported and the heartbeat stops, so that
other workers take over; when the loop comes back the worker finds itself signed off.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING

from holdfast.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.store.base import Pulse, Store, WorkerRecord

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 3.0
"""Longest interval: a cancel request that came without a hint is noticed after no more than this."""

LEASE_SECONDS = 10.0
HEARTBEAT_SHARE = 0.3
"""A heartbeat each 0.3 of a lease: two may be lost without the third being late."""

LOOP_BLOCKED_SECONDS_MAX = 30.0

HEARTBEAT_STUCK_SECONDS = 120.0
"""Longer than any beat takes, even with a store that does not answer."""


def heartbeat_seconds(lease_seconds: float) -> float:
    """Return the interval between the heartbeats that keep a lease of this length."""
    return min(HEARTBEAT_SECONDS, lease_seconds * HEARTBEAT_SHARE)


class Heartbeat:
    """Renews one worker's record and brings back what the store has for it."""

    def __init__(
        self,
        store: Store,
        record: Callable[[], WorkerRecord],
        on_pulse: Callable[[Pulse], None],
        *,
        interval_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Prepare the thread.

        Args:
            store: Where to renew.
            record: Gives the worker's present record; called from the thread.
            on_pulse: Called on the event loop with each answer.
            interval_seconds: Between beats.
        """
        self._store = store
        self._record = record
        self._on_pulse = on_pulse
        self._interval = interval_seconds
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._loop_seen = self._turned_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="holdfast-heartbeat", daemon=True)

    async def start(self) -> None:
        """Register the worker, then beat until `stop`.

        Raises:
            StoreError: The store refused the first beat.
        """
        await asyncio.to_thread(self._store.beat, self._record(), first=True)
        self._thread.start()

    def trouble(self) -> str | None:
        """Return what keeps this worker from showing that it lives; not that the store is away."""
        if not self._thread.is_alive() and not self._stopping.is_set():
            return "the heartbeat's thread has ended"
        now = time.monotonic()
        if now - self._loop_seen > LOOP_BLOCKED_SECONDS_MAX + self._interval:
            return f"the event loop has been blocked for {now - self._loop_seen:.0f} s"
        if now - self._turned_at > HEARTBEAT_STUCK_SECONDS:
            return f"the heartbeat has been stuck for {now - self._turned_at:.0f} s"
        return None

    def beat_now(self) -> None:
        """Beat without waiting for the interval: there may be a cancel request."""
        self._wake.set()

    async def stop(self) -> None:
        """End the thread; the worker's record is the caller's to sign off."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._interval)
            self._wake.clear()
            if self._stopping.is_set():
                return
            self._turned_at = time.monotonic()
            self._ask_loop()
            blocked = time.monotonic() - self._loop_seen
            if blocked > LOOP_BLOCKED_SECONDS_MAX:
                logger.critical(
                    "event loop blocked, heartbeat withheld", extra={"blocked_seconds": round(blocked)}
                )
                continue
            self._beat()

    def _beat(self) -> None:
        try:
            pulse = self._store.beat(self._record(), first=False)
        except StoreError as error:
            # The next beat may succeed; if none does in time, others rescue our jobs.
            logger.warning("heartbeat failed", extra={"error": error.code})
            return
        self._call_loop(self._on_pulse, pulse)

    def _ask_loop(self) -> None:
        def seen() -> None:
            self._loop_seen = time.monotonic()

        self._call_loop(seen)

    def _call_loop(self, function: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            # The loop is closed: the process is going down.
            self._stopping.set()
