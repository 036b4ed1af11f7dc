"""Live streams of jobs' events: how many may be open, and for how long each may go on."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from holdfast.errors import (
    AccessDeniedError,
    HoldfastError,
    InvalidInputError,
    NotAuthenticatedError,
    StreamsFullError,
    TooManyStreamsError,
)
from holdfast.metrics import STREAMS_OPEN
from holdfast.server.access import Action
from holdfast.server.auth import permitted, reach
from holdfast.server.feed import Feed
from holdfast.server.open_files import OTHERS_MAX, open_files_max

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from holdfast.server.feed import Follower, Frame
    from holdfast.server.service import Service

_DIGITS_MAX = 18
"""Of an event's number; the store counts in 64 bits."""


class Streams:
    """The open streams of this process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._feed = Feed(
            service.store,
            service.records,
            service.clock,
            heartbeat_seconds=service.options.heartbeat_seconds,
        )
        self._open: Counter[tuple[str, str | None]] = Counter()
        # Refused with words rather than by a connection that cannot be accepted.
        self._max = max(1, min(service.options.streams_max, open_files_max() - OTHERS_MAX))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Streams]:
        """Serve streams; once the service is closing, they end."""
        async with self._feed.running(self._service.closing):
            yield self

    async def open(
        self, connection: HTTPConnection, job_id: str, after: int, stack: contextlib.ExitStack
    ) -> Stream:
        """Let a client follow a job until `stack` is closed.

        Args:
            connection: Who asks.
            job_id: The job.
            after: Number of the last event that the client has; 0 for none.
            stack: Gives the place back.

        Raises:
            NotAuthenticatedError, AccessDeniedError, JobNotFoundError: It may not.
            InvalidInputError: The job has no event of that number.
            StreamsFullError, TooManyStreamsError: There are as many streams as there may be.
        """
        principal = await permitted(connection, Action.CONTENT)
        job = await reach(self._service, principal, job_id)
        if after > job.event_seq:
            raise InvalidInputError(
                f"event {after} of job {job_id!r} does not exist: its log goes to {job.event_seq}",
                hint="go on from an id that a stream of this job has sent, or from the start",
            )
        client = (principal.name, principal.job_id)
        limit = self._service.options.client_streams_max
        stack.enter_context(self.seat(client, limit))
        follower = stack.enter_context(self._feed.follow(job_id, after, known=job.event_seq))
        return Stream(self._service, connection, follower)

    @contextlib.contextmanager
    def seat(self, client: tuple[str, str | None], limit: int) -> Iterator[None]:
        """Count a stream of a client while it is open.

        Args:
            client: Who is sent it, and what alone it may see.
            limit: How many may be open for that client.

        Raises:
            StreamsFullError, TooManyStreamsError: There are as many streams as there may be.
        """
        if self._open.total() >= self._max:
            raise StreamsFullError(limit=self._max)
        if self._open[client] >= limit:
            raise TooManyStreamsError(name=client[0], limit=limit)
        self._open[client] += 1
        STREAMS_OPEN.inc()
        try:
            yield
        finally:
            STREAMS_OPEN.dec()
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]


class Stream:
    """What one client is sent, for as long as it may see it."""

    def __init__(self, service: Service, connection: HTTPConnection, follower: Follower) -> None:
        self._service = service
        self._connection = connection
        self._follower = follower

    @property
    def complete(self) -> bool:
        """Whether the client has everything, up to the last event of a job that has ended."""
        return self._follower.finished

    async def batches(self) -> AsyncIterator[Sequence[Frame]]:
        """Yield events in order, live, and nothing at all where a heartbeat is due.

        Ends when the stream is complete, and when the service is closing.

        Raises:
            NotAuthenticatedError, AccessDeniedError: The key was revoked or has expired meanwhile.
            JobNotFoundError: The job was deleted.
            SealedValueError: An event cannot be opened here.
        """
        options, clock, follower = self._service.options, self._service.clock, self._follower
        closing = self._service.closing
        check_at = clock.monotonic() + options.recheck_seconds
        while not closing.is_set() and not follower.finished:
            frames = await follower.next()
            if clock.monotonic() >= check_at:
                await self._check()
                check_at = clock.monotonic() + options.recheck_seconds
            if frames or not (closing.is_set() or follower.finished):
                yield frames

    async def _check(self) -> None:
        try:
            await permitted(self._connection, Action.CONTENT)
        except (NotAuthenticatedError, AccessDeniedError):
            raise
        except HoldfastError:
            # The store is away: nothing is known against the client, and nothing comes to be seen.
            return


def streams_of(connection: HTTPConnection) -> Streams:
    """Return the streams of the service that a request or socket came to."""
    found: Streams = connection.state.holdfast_streams
    return found


def read_seq(text: str, what: str) -> int:
    """Return the number of an event.

    Raises:
        InvalidInputError: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        shown = text if len(text) <= 2 * _DIGITS_MAX else f"{text[: 2 * _DIGITS_MAX]}…"
        raise InvalidInputError(
            f"{what} {shown!r} is no number of an event",
            hint="send the id of the last event that you have, or nothing to start from the first",
        )
    return int(text)
