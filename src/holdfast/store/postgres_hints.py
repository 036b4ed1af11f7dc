"""Hints between processes by LISTEN and NOTIFY, and by looking now and then where those fail.

Three kinds of message go over one channel, each with its sender and a list of topics: `tell`,
that there is news; `want`, which jobs somebody here follows; `ask`, for the wants of all. News
of single jobs is told only while somebody else wants it: a fleet that writes ten thousand
steps a second must not tell every process of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

import psycopg

from holdfast.clock import SystemClock
from holdfast.errors import StoreError
from holdfast.store.hints import CANCEL, QUEUED, SIGNAL, UNANNOUNCED
from holdfast.store.postgres_connection import CONNECT_SECONDS, KEEPALIVE, is_pooled_pid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from holdfast.store.hints import Hints
    from holdfast.store.postgres_connection import Place
    from holdfast.store.transaction import Transaction

    Submit = Callable[[Callable[[Transaction], Any]], Awaitable[Any]]

logger = logging.getLogger(__name__)

CHANNEL = "holdfast"

LOOK_SECONDS = 1.0
"""How often subscribers look by themselves while nothing can be heard."""

LOOK_ANYWAY_SECONDS = 5.0
"""How often they do while notifications are heard: one may have been lost."""

WANT_SECONDS = 60.0
"""How long a want is good for; it is repeated twice as often."""

HEARD_SECONDS = 0.2
"""Within this time every process that is not stuck has taken note of a want."""

_RETRY_SECONDS = 2.0
_PAYLOAD_BYTES_MAX = 7_900
"""PostgreSQL takes less than 8,000."""

_PAYLOADS_MAX = 8
_EVERYTHING = "*"
_FOR_ALL = frozenset({QUEUED, CANCEL, SIGNAL})
_FOR_NOBODY_ELSE = frozenset({UNANNOUNCED})


class Teller:
    """Sends messages to other processes, without the commits that caused them waiting for it.

    A NOTIFY within the transaction would make all commits of the database wait for each other:
    PostgreSQL orders notifications by a lock that is held until after the flush to disk. Sent
    afterwards, messages gather while the last ones are on their way.
    """

    def __init__(self, submit: Submit, sender: str) -> None:
        """Make a teller.

        Args:
            submit: Runs an operation on a connection that has nothing else to do.
            sender: Name of this process, so that it knows its own messages.
        """
        self._submit = submit
        self._sender = sender
        self._gathered: dict[str, set[str]] = {}
        self._task: asyncio.Task[None] | None = None

    def send(self, kind: str, topics: Iterable[str]) -> None:
        """Send a message soon."""
        self._gathered.setdefault(kind, set()).update(topics)
        if self._task is None:
            self._task = asyncio.create_task(self._send(), name="holdfast-store-teller")

    async def close(self) -> None:
        """Wait until everything was sent."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _send(self) -> None:
        try:
            while self._gathered:
                gathered, self._gathered = self._gathered, {}
                for kind, topics in gathered.items():
                    for payload in payloads(f"{self._sender} {kind}", topics):
                        await self._submit(_notify(payload))
        except StoreError as error:
            # Losing a hint costs time only: who waits looks now and then.
            logger.warning("hints not told", extra={"error": error.code})
        finally:
            self._task = None


def _notify(payload: str) -> Callable[[Transaction], Any]:
    return lambda tx: tx.execute("SELECT pg_notify(?, ?)", (CHANNEL, payload)).fetchone()


def payloads(head: str, topics: Iterable[str]) -> list[str]:
    """Pack topics into as few payloads as their size allows; too many become "everything"."""
    packed: list[str] = []
    lines = head
    for topic in topics:
        if len(lines) + len(topic) + 1 > _PAYLOAD_BYTES_MAX:
            packed.append(lines)
            lines = head
        lines += f"\n{topic}"
    packed.append(lines)
    return packed if len(packed) <= _PAYLOADS_MAX else [f"{head}\n{_EVERYTHING}"]


class Exchange:
    """Passes hints on between the processes of one database."""

    def __init__(self, place: Place, hints: Hints, submit: Submit, sender: str) -> None:
        """Describe an exchange; nothing happens before `start`.

        Args:
            place: The database.
            hints: Those of this process.
            submit: See `Teller`.
            sender: Name of this process.
        """
        self._place = place
        self._hints = hints
        self._sender = sender
        self._teller = Teller(submit, sender)
        self._wanted: dict[str, float] = {}
        """By others: topic, and until when."""
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()
        """Set while notifications can be heard."""

    def start(self) -> None:
        """Begin to listen."""
        self._hints.on_subscribed = self._want
        self._task = asyncio.create_task(self._run(), name="holdfast-store-listener")

    async def close(self) -> None:
        """Stop listening; what was to be told is told."""
        self._hints.on_subscribed = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self._teller.close()

    def tell(self, topics: set[str]) -> None:
        """Pass on what this process has committed, as far as others want to know."""
        told = topics & _FOR_ALL
        if self._wanted:
            told |= topics if _EVERYTHING in self._wanted else topics & self._wanted.keys()
            told -= _FOR_NOBODY_ELSE
        if told:
            self._teller.send("tell", told)

    # what is wanted ----------------------------------------------------------------------------

    def _want(self, topic: str) -> None:
        if topic not in _FOR_ALL | _FOR_NOBODY_ELSE:
            self._teller.send("want", (topic,))

    def _want_all(self) -> None:
        topics = set(self._hints.topics) - _FOR_ALL - _FOR_NOBODY_ELSE
        if topics:
            self._teller.send("want", topics)
        present = time.monotonic()
        self._wanted = {topic: until for topic, until in self._wanted.items() if until > present}

    # listening -----------------------------------------------------------------------------------

    async def _run(self) -> None:
        clock = SystemClock()
        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                await self._listen(clock)
            self.listening.clear()
            await self._look(clock, _RETRY_SECONDS)

    async def _listen(self, clock: SystemClock) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._place.url,
            autocommit=True,
            application_name="holdfast-listener",
            connect_timeout=CONNECT_SECONDS,
            **KEEPALIVE,
        )
        async with connection:
            cursor = await connection.execute("SELECT pg_backend_pid()")
            if is_pooled_pid(await cursor.fetchone(), connection.info):
                # Behind a pooler notifications arrive anywhere but here.
                await connection.close()
                while True:
                    await self._look(clock, LOOK_SECONDS)
            await connection.execute(f"LISTEN {CHANNEL}")
            self.listening.set()
            # Whatever came before was not heard.
            self._hints.publish_all()
            self._teller.send("ask", ())
            await self._hear_all(connection)

    async def _hear_all(self, connection: psycopg.AsyncConnection[Any]) -> None:
        want_again_at = 0.0
        while True:
            if time.monotonic() >= want_again_at:
                self._want_all()
                want_again_at = time.monotonic() + WANT_SECONDS / 2
            async for notification in connection.notifies(timeout=LOOK_ANYWAY_SECONDS):
                self._hear(notification.payload)
                if time.monotonic() >= want_again_at:
                    break
            self._hints.publish_all()

    def _hear(self, payload: str) -> None:
        head, *topics = payload.split("\n")
        sender, _, kind = head.partition(" ")
        if sender == self._sender:
            if kind == "want":
                # Those who hear it, too, will tell from then on; what they wrote before was not told.
                asyncio.get_running_loop().call_later(HEARD_SECONDS, self._hints.publish, *topics)
        elif kind == "tell":
            if _EVERYTHING in topics:
                self._hints.publish_all()
            else:
                self._hints.publish(*topics)
        elif kind == "want":
            self._wanted.update(dict.fromkeys(topics, time.monotonic() + WANT_SECONDS))
        elif kind == "ask":
            self._want_all()

    async def _look(self, clock: SystemClock, seconds: float) -> None:
        """Wake every subscriber now and then for `seconds`."""
        for _ in range(max(1, round(seconds / LOOK_SECONDS))):
            self._hints.publish_all()
            await clock.sleep(LOOK_SECONDS)
