"""A job's events over HTTP: by pages, and live as server-sent events."""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from holdfast.errors import HoldfastError
from holdfast.server import examples
from holdfast.server.access import Action
from holdfast.server.auth import ContentReader, allowed, reach
from holdfast.server.feed import frame_of
from holdfast.server.problems import NOT_FOUND, ProblemRoute
from holdfast.server.schemas import Name
from holdfast.server.service import Here
from holdfast.server.sse import END, HEARTBEAT, HELLO, SSE, EventStream
from holdfast.server.streams import Stream, Streams, read_seq, streams_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/jobs", tags=["events"], route_class=ProblemRoute)

PAGE_BYTES_MAX = 1024**2
"""Data of one page, unless its first event alone has more; the reader goes on from there."""

_EXAMPLE = (
    'id: 2\nevent: attempt.started\ndata: {"seq":2,"type":"attempt.started","at":"…","data":{…}}\n\n'
)


class EventView(BaseModel):
    """One numbered fact about a job."""

    seq: int
    type: str
    at: datetime
    data: dict[str, Any]


class EventPage(BaseModel):
    """Some of a job's events, in order."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.EVENTS]})

    events: list[EventView]
    next_after: int
    """Give it as `after` to go on."""


@router.get("/{job_id}/events", response_model=EventPage, responses=NOT_FOUND)
async def list_events(
    job_id: str,
    *,
    here: Here,
    principal: ContentReader,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    type: Annotated[list[Name] | None, Query(max_length=20)] = None,
) -> Response:
    """Return a page of the job's events: what comes after number `after`, all types or those named."""
    await reach(here, principal, job_id)
    found = await here.store.read_events(
        job_id, after=after, limit=limit, types=type or (), bytes_max=PAGE_BYTES_MAX
    )
    events = b",".join(frame_of(event).json for event in found)
    next_after = found[-1].seq if found else after
    return Response(
        b'{"events":[%b],"next_after":%d}' % (events, next_after), media_type="application/json"
    )


@router.get(
    "/{job_id}/stream",
    response_class=StreamingResponse,
    responses={
        # Readers of the schema take it for that of each event, which may be anything.
        200: {"content": {SSE: {"schema": {}, "example": _EXAMPLE}}},
        **NOT_FOUND,
    },
    dependencies=[Depends(allowed(Action.CONTENT))],
)
async def stream_events(
    request: Request,
    job_id: str,
    streams: Annotated[Streams, Depends(streams_of)],
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Send the job's events as they come, until it has ended.

    Goes on after `Last-Event-ID` or `after`; the header wins, because a browser that reconnects sends
    it along with the URL of the first time. An `end` event says that nothing more will come.
    """
    if last_event_id is not None:
        after = read_seq(last_event_id, "Last-Event-ID")
    with contextlib.ExitStack() as stack:
        stream = await streams.open(request, job_id, after, stack)
        return EventStream(_sse(stream), stack.pop_all())


async def _sse(stream: Stream) -> AsyncIterator[bytes]:
    yield HELLO
    try:
        async for frames in stream.batches():
            yield b"".join([frame.sse for frame in frames]) or HEARTBEAT
    except HoldfastError as error:
        # The client comes back and is told why as a problem.
        logger.info("stream ended early", extra={"error": error.code})
        return
    if stream.complete:
        yield END
