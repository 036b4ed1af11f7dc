"""A job's events as they come: gapless and without repeats, over cut connections and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import httpx2
import msgspec

from holdfast.codec import VALUE_BYTES_MAX
from holdfast.errors import InvalidInputError, ServiceUnavailableError
from holdfast.remote.problems import seconds_after
from holdfast.remote.transport import (
    ATTEMPTS_MAX,
    SILENCE_SECONDS,
    AwayError,
    Call,
    decode,
    media_type_of,
    wait_seconds,
)
from holdfast.remote.views import EventPage, EventView, JobView, event_of, job_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from holdfast.model import Event, Job
    from holdfast.remote.transport import Transport

logger = logging.getLogger(__name__)

HELLO_SECONDS = 10.0
"""A stream says something at once; where nothing comes for so long, something keeps streams back."""

PATIENCE_SECONDS = 300.0
"""How long a stream that has been there is tried to be had again."""

STEADY_SECONDS = 20.0
"""A connection that has lasted for so long was a good one, even if it told of nothing."""

PAGE_EVENTS = 500

_POLL_SECONDS = (1.0, 2.0, 60.0)
"""Least, usual and most between two looks at a job."""

_RETRY_SECONDS = (0.1, 30.0)
"""What a service may ask for between two connections."""

_EVENT_BYTES_MAX = VALUE_BYTES_MAX + 1024**2
_SSE = "text/event-stream"
_NO_ROOM = frozenset({"streams_full", "too_many_streams"})

_event = msgspec.json.Decoder(EventView)
_page = msgspec.json.Decoder(EventPage)
_job = msgspec.json.Decoder(JobView)


class BlockedError(Exception):
    """Inside of this package: no stream is to be had here, so one has to ask again and again."""


class Watch:
    """One reader's place in a job's log."""

    def __init__(self, transport: Transport, job_id: str, path: str, after: int) -> None:
        """Begin after event number `after`; `path` is the job's."""
        self._transport = transport
        self._job_id = job_id
        self._path = path
        self._after = after
        self._ended = False
        self._retry_seconds = 1.0
        self._steady = False
        """Whether the last connection was a good one."""
        self._was_steady = False
        self._failures = 0
        self._failing_since = 0.0

    async def events(self) -> AsyncIterator[Event]:
        """Yield events until the job has ended.

        Raises:
            ServiceUnavailableError: The service could not be reached for `PATIENCE_SECONDS`, or not
                even once.
            HoldfastError: What the service tells.
        """
        try:
            async with contextlib.aclosing(self.streamed()) as streamed:
                async for event in streamed:
                    yield event
        except BlockedError:
            logger.info("stream is blocked, events are polled", extra={"job_id": self._job_id})
            async for event in self._polled():
                yield event

    async def streamed(self) -> AsyncGenerator[Event]:
        """Yield events of the service's stream, which is taken up again where it breaks off.

        Raises:
            BlockedError: Something keeps streams back, or there is no room for one.
            ServiceUnavailableError, HoldfastError: See `events`.
        """
        while not self._ended:
            away: AwayError | None = None
            began = self._transport.clock.monotonic()
            try:
                async with contextlib.aclosing(self._connected()) as connected:
                    async for event in connected:
                        self._steady = True
                        yield event
            except AwayError as error:
                away = error
            if self._transport.clock.monotonic() - began >= STEADY_SECONDS:
                self._steady = True
            if not self._ended:
                await self._pause(away)

    async def _connected(self) -> AsyncGenerator[Event]:
        """Yield the events of one connection."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(HELLO_SECONDS):
                    source = await self._open(stack)
                    told = await anext(source, None)
            except TimeoutError:
                raise BlockedError from None
            while told is not None:
                if told.retry is not None:
                    low, high = _RETRY_SECONDS
                    self._retry_seconds = min(max(told.retry / 1000, low), high)
                if told.event == "end":
                    self._ended = True
                    return
                event = self._read(told.data) if told.data else None
                if event is not None:
                    yield event
                told = await anext(source, None)

    async def _open(self, stack: contextlib.AsyncExitStack) -> AsyncIterator[httpx2.ServerSentEvent]:
        call = Call(
            method="GET",
            path=f"{self._path}/stream",
            headers={"Accept": _SSE, "Last-Event-ID": str(self._after), "Cache-Control": "no-store"},
        )
        try:
            opened = self._transport.open(call, silence=SILENCE_SECONDS)
            response = await stack.enter_async_context(opened)
        except AwayError as away:
            if away.error.code in _NO_ROOM:
                raise BlockedError from None
            raise
        except InvalidInputError:
            # The log has not come to that number yet, and a stream begins at one that is there.
            raise BlockedError from None
        if media_type_of(response) != _SSE:
            raise BlockedError
        return aiter(httpx2.EventSource(response, max_event_size=_EVENT_BYTES_MAX))

    def _read(self, text: str) -> Event | None:
        """Return the next event; None for one that is known already.

        Raises:
            AwayError: It is not the next one: the connection is of no use.
        """
        try:
            event = event_of(_event.decode(text), self._job_id)
        except msgspec.DecodeError as error:
            raise self._broken("holds what is no event") from error
        if event.seq <= self._after:
            return None
        if event.seq != self._after + 1:
            raise self._broken(f"skips from event {self._after} to {event.seq}")
        self._after = event.seq
        return event

    def _broken(self, how: str) -> AwayError:
        told = f"the stream of job {self._job_id!r} from {self._transport.address} {how}"
        return AwayError(ServiceUnavailableError(told), heard=True)

    async def _pause(self, away: AwayError | None) -> None:
        """Wait before the next connection.

        Raises:
            HoldfastError: It has been tried for long enough.
        """
        clock = self._transport.clock
        if self._steady or not self._failures:
            self._failures, self._failing_since = 0, clock.monotonic()
        self._was_steady, self._steady = self._was_steady or self._steady, False
        self._failures += 1
        away = away or self._broken("ends before the job has")
        base = {"base": self._retry_seconds} if self._was_steady else {}
        wait = wait_seconds(self._failures, away.after, **base)
        given_up = (
            clock.monotonic() - self._failing_since > PATIENCE_SECONDS
            if self._was_steady
            else self._failures >= ATTEMPTS_MAX
        )
        if wait is None or given_up:
            raise away.error from away.__cause__
        logger.info(
            "stream is taken up again",
            extra={"job_id": self._job_id, "after": self._after, "wait_seconds": round(wait, 3)},
        )
        await clock.sleep(wait)

    async def _polled(self) -> AsyncIterator[Event]:
        poll = Poll(self._transport, self._path)
        while True:
            # The status is read before the events: what ends a job is its last event.
            job = await poll.look()
            call = Call(
                method="GET",
                path=f"{self._path}/events",
                query={"after": self._after, "limit": PAGE_EVENTS},
                repeatable=True,
            )
            page = decode(await self._transport.ask(call), _page, self._transport.address)
            for view in page.events:
                self._after = view.seq
                yield event_of(view, self._job_id)
            if page.events:
                continue
            if job.status.terminal:
                return
            await poll.pause()


class Poll:
    """Looks at a job again and again, as often as the service wants to be asked."""

    def __init__(self, transport: Transport, path: str) -> None:
        self._transport = transport
        self._path = path
        self._etag: str | None = None
        self._job: Job | None = None
        self._wait = _POLL_SECONDS[1]

    async def look(self) -> Job:
        """Return the job as it is now.

        Raises:
            HoldfastError: See `Transport.ask`.
        """
        headers = {"If-None-Match": self._etag} if self._etag and self._job else None
        call = Call(method="GET", path=self._path, headers=headers, repeatable=True)
        answer = await self._transport.ask(call)
        least, usual, most = _POLL_SECONDS
        self._wait = min(max(seconds_after(answer.headers.get("Retry-After")) or usual, least), most)
        if answer.status != 304 or self._job is None:
            self._etag = answer.headers.get("ETag")
            self._job = job_of(decode(answer, _job, self._transport.address))
        return self._job

    async def pause(self) -> None:
        """Wait as long as the service wants to be left alone."""
        await self._transport.clock.sleep(self._wait)

    async def until_terminal(self) -> Job:
        """Return the job once it has ended."""
        while not (job := await self.look()).status.terminal:
            await self.pause()
        return job
