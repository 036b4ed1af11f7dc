"""The feed: reads the logs of all followed jobs, each once for all its clients in this process.

A `Tail` is the end of one job's log, kept in memory while somebody follows the job. A `Follower` is one
client's place in it: it takes what it has not had yet from the tail, and pages through the store by
itself while it is further behind than the tail reaches, so it never holds up another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import JobNotFoundError, SealedValueError, StoreError
from holdfast.store.hints import Inbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from holdfast.clock import Clock
    from holdfast.errors import HoldfastError
    from holdfast.model import Event
    from holdfast.store.base import Store
    from holdfast.store.service import Position, ServiceStore

logger = logging.getLogger(__name__)

TAIL_EVENTS_MAX = 200
TAIL_BYTES_MAX = 64 * 1024
"""What is kept of one job; thousands of jobs may be followed."""

PAGE_EVENTS = 100
PAGE_BYTES = 256 * 1024
"""What is read at once of a log, and kept for each client until it has taken it."""

READS_AT_ONCE = 64
RETRY_SECONDS = 1.0
"""How long to leave a store alone that failed."""


@dataclass(frozen=True, slots=True)
class Frame:
    """An event as it goes over the wire, encoded once for all who get it."""

    seq: int
    sse: bytes
    """As a server-sent event."""
    _body: slice

    @property
    def json(self) -> bytes:
        """As a JSON object."""
        return self.sse[self._body]


def frame_of(event: Event) -> Frame:
    """Return the event as it goes over the wire."""
    head = f"id: {event.seq}\nevent: {event.type}\ndata: ".encode()
    told = {"seq": event.seq, "type": event.type, "at": event.at, "data": msgspec.Raw(event.data)}
    body = msgspec.json.encode(told)
    return Frame(event.seq, b"%b%b\n\n" % (head, body), slice(len(head), len(head) + len(body)))


class Tail:
    """The end of one job's log, as far as it is kept in memory."""

    def __init__(self, job_id: str, after: int) -> None:
        """Begin with nothing known.

        Args:
            job_id: Whose log.
            after: The number that the first follower has already.
        """
        self.job_id = job_id
        self.seq: int | None = None
        """Number of the last event that was read; None until the log has been looked at."""
        self.ended = False
        """Whether that is the last event of a job that has ended."""
        self.lost: HoldfastError | None = None
        """Why the log cannot be read any more: deleted, or sealed with a key that is not here."""
        self.followers = 0
        self.beats = 0
        """How often followers were woken only to show that they live."""
        self._after = after
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._quiet = False

    def look(self, position: Position) -> bool:
        """Take note of how far the log goes; whether there is something to read."""
        if self.seq is None:
            # What the first follower lacks, so that others who come back with it find it here.
            self.seq = min(position.event_seq, max(self._after, position.event_seq - TAIL_EVENTS_MAX))
            self.wake()
        self._judge(position)
        return self.seq < position.event_seq

    def grow(self, frames: Iterable[Frame], position: Position) -> None:
        """Append what was read after looking at `position`."""
        for frame in frames:
            self._frames.append(frame)
            self._bytes += len(frame.sse)
            self.seq = frame.seq
        while self._bytes > TAIL_BYTES_MAX or len(self._frames) > TAIL_EVENTS_MAX:
            self._bytes -= len(self._frames.popleft().sse)
        self._judge(position)
        self.wake()

    def lose(self, error: HoldfastError) -> None:
        """Tell all followers why nothing more will come."""
        self.lost = error
        self.wake()

    def reaches(self, after: int) -> bool:
        """Whether everything that comes after this number is, or will be, in memory."""
        return self.seq is not None and after >= self.seq - len(self._frames)

    def since(self, after: int) -> list[Frame]:
        """Return the events after this number, which the tail reaches."""
        missing = min((self.seq or 0) - after, len(self._frames))
        return [self._frames[index] for index in range(-missing, 0)]

    def turned(self) -> asyncio.Future[None]:
        """Return what is done once something has changed since this call."""
        # A future for each: thousands wait, and an Event and a timeout cost several times as much.
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return waiting

    def wake(self) -> None:
        """Have all followers look again."""
        self._quiet = False
        woken, self._waiting = self._waiting, []
        for waiting in woken:
            if not waiting.done():
                waiting.set_result(None)

    def beat(self) -> None:
        """Have all followers show that they live if nothing has happened since the last beat."""
        if self._quiet:
            self.beats += 1
            self.wake()
        else:
            self._quiet = True

    def _judge(self, position: Position) -> None:
        # What ends a job is its last event; a retry adds another one.
        ended = position.status.terminal and self.seq == position.event_seq
        if ended is not self.ended:
            self.ended = ended
            self.wake()


class Follower:
    """One client's place in the log of one job."""

    def __init__(self, feed: Feed, tail: Tail, after: int, known: int) -> None:
        self.after = after
        """Number of the last event that it was given."""
        self._known = known
        self._feed = feed
        self._tail = tail

    @property
    def finished(self) -> bool:
        """Whether it has been given everything, up to the last event of a job that has ended."""
        seq = self._tail.seq or 0
        # A job that was retried just now has ended only to those who have not heard of it yet.
        return self._tail.ended and self.after >= seq >= self._known

    async def next(self) -> Sequence[Frame]:
        """Return what comes next in order, as soon as there is something.

        Returns:
            Nothing when it is time to show that the stream lives, when it is finished, and when the
            feed closes.

        Raises:
            JobNotFoundError: The job was deleted.
            SealedValueError: An event cannot be opened.
        """
        tail, feed = self._tail, self._feed
        beats = tail.beats
        while not (feed.closed or self.finished) and tail.beats == beats:
            if tail.lost is not None:
                raise tail.lost.with_traceback(None)  # it is told to many
            if tail.seq is None or self.after >= tail.seq:
                await tail.turned()
                continue
            reached = tail.reaches(self.after)
            frames = tail.since(self.after) if reached else await feed.page(tail.job_id, self.after)
            if frames:
                self.after = frames[-1].seq
                return frames
        return ()


class Feed:
    """Reads the logs of all followed jobs while it runs."""

    def __init__(
        self, store: Store, records: ServiceStore, clock: Clock, *, heartbeat_seconds: float = 15.0
    ) -> None:
        """Describe a feed.

        Args:
            store: Where events are read.
            records: Where is asked how far logs go.
            clock: Paces what is tried again, and heartbeats.
            heartbeat_seconds: How long followers may have nothing to tell.
        """
        self._store = store
        self._records = records
        self._clock = clock
        self._heartbeat_seconds = heartbeat_seconds
        self._inbox = Inbox(store.hints)
        self._tails: dict[str, Tail] = {}
        self._paging = asyncio.Semaphore(READS_AT_ONCE)
        self._troubled = False
        self.closed = False
        """Whether followers are to leave."""

    @contextlib.asynccontextmanager
    async def running(self, closing: asyncio.Event) -> AsyncIterator[Feed]:
        """Feed the followers; once `closing` is set, have them leave."""
        tasks = [
            asyncio.create_task(self._run(), name="holdfast-feed"),
            asyncio.create_task(self._beat(), name="holdfast-feed-beat"),
            asyncio.create_task(self._close_with(closing), name="holdfast-feed-closing"),
        ]
        try:
            yield self
        finally:
            self._close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    @contextlib.contextmanager
    def follow(self, job_id: str, after: int, *, known: int = 0) -> Iterator[Follower]:
        """Give a place in the log of a job.

        Args:
            job_id: Whose.
            after: Number of the last event that the client has.
            known: Number of an event that the log is known to hold, and that there is to wait for.
        """
        tail = self._tails.get(job_id)
        if tail is None:
            tail = self._tails[job_id] = Tail(job_id, after)
            self._inbox.add(job_id)
        tail.followers += 1
        try:
            yield Follower(self, tail, after, known)
        finally:
            tail.followers -= 1
            if not tail.followers:
                self._forget(tail)

    async def page(self, job_id: str, after: int) -> Sequence[Frame]:
        """Return the next events from the store; nothing after a while in which it could not be read."""
        try:
            async with self._paging:
                events = await self._store.read_events(
                    job_id, after=after, limit=PAGE_EVENTS, bytes_max=PAGE_BYTES
                )
        except SealedValueError:
            raise
        except StoreError as error:
            self._note(error)
            await self._clock.sleep(RETRY_SECONDS)
            return ()
        return [frame_of(event) for event in events]

    # the one reader ------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            news = await self._inbox.take()
            try:
                await self._read_all(news)
            except StoreError as error:
                self._note(error)
            except Exception:
                # Without it every stream of this process would stand still and look well.
                logger.exception("feed failed, going on")
            else:
                self._troubled = False
                continue
            await self._clock.sleep(RETRY_SECONDS)
            self._inbox.put(news & self._tails.keys())

    async def _read_all(self, news: set[str]) -> None:
        # Looked up before events are read: what ends a job is its last event.
        positions = await self._records.find_positions(tuple(news))
        due = [tail for job_id in news if (tail := self._look(job_id, positions)) is not None]
        for start in range(0, len(due), READS_AT_ONCE):
            reads = [
                self._read(tail, positions[tail.job_id]) for tail in due[start : start + READS_AT_ONCE]
            ]
            for outcome in await asyncio.gather(*reads, return_exceptions=True):
                if outcome is not None:
                    raise outcome

    def _look(self, job_id: str, positions: Mapping[str, Position]) -> Tail | None:
        """Return the job's tail if there is something to read for it."""
        tail = self._tails.get(job_id)
        if tail is None:
            return None
        if job_id not in positions:
            self._lose(tail, JobNotFoundError(job_id=job_id))
            return None
        return tail if tail.look(positions[job_id]) else None

    async def _read(self, tail: Tail, position: Position) -> None:
        try:
            events = await self._store.read_events(
                tail.job_id, after=tail.seq or 0, limit=PAGE_EVENTS, bytes_max=PAGE_BYTES
            )
        except (JobNotFoundError, SealedValueError) as error:
            self._lose(tail, error)
            return
        tail.grow(map(frame_of, events), position)
        if (tail.seq or 0) < position.event_seq and tail.job_id in self._tails:
            self._inbox.put((tail.job_id,))

    def _lose(self, tail: Tail, error: HoldfastError) -> None:
        logger.info("log lost", extra={"job_id": tail.job_id, "error": error.code})
        tail.lose(error)
        self._forget(tail)

    def _forget(self, tail: Tail) -> None:
        # One that was lost may have a successor under the same id.
        if self._tails.get(tail.job_id) is tail:
            del self._tails[tail.job_id]
            self._inbox.remove(tail.job_id)

    def _note(self, error: StoreError) -> None:
        if not self._troubled:
            logger.warning("streams wait for the store", extra={"error": error.code})
        self._troubled = True

    async def _beat(self) -> None:
        while True:
            # A tail is quiet for one beat before the second one wakes its followers.
            await self._clock.sleep(self._heartbeat_seconds / 2)
            for tail in list(self._tails.values()):
                tail.beat()

    async def _close_with(self, closing: asyncio.Event) -> None:
        await closing.wait()
        self._close()

    def _close(self) -> None:
        self.closed = True
        for tail in self._tails.values():
            tail.wake()
