"""Hints: who may have something new to read. Losing one costs time, never correctness."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

QUEUED = "queued"
"""Topic: some job became claimable."""

CANCEL = "cancel"
"""Topic: some running job has a cancel request."""

SIGNAL = "signal"
"""Topic: some job was signalled or its budget raised."""

UNANNOUNCED = "unannounced"
"""Topic: this process has queued a job beside what it was asked for, and nobody announces it. It is not
passed on to other processes: one waker is enough."""


def ended(job_id: str) -> str:
    """Return the topic of the job's end, for those who need not hear of every event."""
    return f"ended {job_id}"


class Hints:
    """Topics to wait on within one event loop; a job's id is the topic of its events."""

    def __init__(self) -> None:
        self._subscribers: dict[str, set[asyncio.Event]] = {}
        self.on_subscribed: Callable[[str], None] | None = None
        """Called with a topic that nobody here has been subscribed to before."""

    @property
    def idle(self) -> bool:
        """Whether nobody is subscribed, so nothing needs to be looked for."""
        return not self._subscribers

    @property
    def topics(self) -> Collection[str]:
        """What somebody here is subscribed to."""
        return self._subscribers.keys()

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[asyncio.Event]:
        """Give an event that is set at every hint on `topic`; the subscriber clears it."""
        event = asyncio.Event()
        if self.on_subscribed is not None and topic not in self._subscribers:
            self.on_subscribed(topic)
        self._subscribers.setdefault(topic, set()).add(event)
        try:
            yield event
        finally:
            remaining = self._subscribers[topic]
            remaining.discard(event)
            if not remaining:
                del self._subscribers[topic]

    def publish(self, *topics: str) -> None:
        """Wake the subscribers of `topics`."""
        for topic in topics:
            for event in self._subscribers.get(topic, ()):
                event.set()

    def publish_all(self) -> None:
        """Wake every subscriber: another process changed something."""
        for events in self._subscribers.values():
            for event in events:
                event.set()
