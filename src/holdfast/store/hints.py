"""Hints: who may have something new to read. Losing one costs time, never correctness."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

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


class Subscriber(Protocol):
    """Who is woken by a hint; most are an `asyncio.Event`."""

    def set(self) -> None:
        """Take note that there may be something new."""
        ...


class Hints:
    """Topics to wait on within one event loop; a job's id is the topic of its events."""

    def __init__(self) -> None:
        self._subscribers: dict[str, set[Subscriber]] = {}
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
        self.add(topic, event)
        try:
            yield event
        finally:
            self.remove(topic, event)

    def add(self, topic: str, subscriber: Subscriber) -> None:
        """Wake `subscriber` at every hint on `topic` until it is removed."""
        if self.on_subscribed is not None and topic not in self._subscribers:
            self.on_subscribed(topic)
        self._subscribers.setdefault(topic, set()).add(subscriber)

    def remove(self, topic: str, subscriber: Subscriber) -> None:
        """Undo `add`."""
        remaining = self._subscribers[topic]
        remaining.discard(subscriber)
        if not remaining:
            del self._subscribers[topic]

    def publish(self, *topics: str) -> None:
        """Wake the subscribers of `topics`."""
        for topic in topics:
            for subscriber in self._subscribers.get(topic, ()):
                subscriber.set()

    def publish_all(self) -> None:
        """Wake every subscriber: another process changed something."""
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                subscriber.set()


class Inbox:
    """One subscriber to many topics, who hears which of them may have news."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self._slots: dict[str, _Slot] = {}
        self._news: set[str] = set()
        self._filled = asyncio.Event()

    def add(self, topic: str) -> None:
        """Subscribe to a topic, which counts as news: nobody knows what came before."""
        slot = self._slots[topic] = _Slot(self, topic)
        self._hints.add(topic, slot)
        self.put((topic,))

    def remove(self, topic: str) -> None:
        """Hear no more of a topic."""
        self._hints.remove(topic, self._slots.pop(topic))
        self._news.discard(topic)

    def put(self, topics: Iterable[str]) -> None:
        """Count topics as news, whoever says so."""
        self._news.update(topics)
        if self._news:
            self._filled.set()

    async def take(self) -> set[str]:
        """Return the topics with news since the last time, once there are some."""
        while not self._news:
            self._filled.clear()
            await self._filled.wait()
        news, self._news = self._news, set()
        return news


class _Slot:
    __slots__ = ("_inbox", "_topic")

    def __init__(self, inbox: Inbox, topic: str) -> None:
        self._inbox = inbox
        self._topic = topic

    def set(self) -> None:
        self._inbox.put((self._topic,))
