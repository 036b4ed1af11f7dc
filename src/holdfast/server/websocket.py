"""A job's events over a WebSocket, which can also cancel the job."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends
from starlette.websockets import WebSocket, WebSocketDisconnect

from holdfast.errors import AccessDeniedError, HoldfastError, InvalidInputError
from holdfast.server.access import Action
from holdfast.server.auth import SESSION_COOKIE, given_key, permitted
from holdfast.server.origins import is_loopback_page, is_own
from holdfast.server.problems import status_of
from holdfast.server.service import Service, service_of
from holdfast.server.streams import Stream, Streams, read_seq, streams_of

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/jobs")

COMMANDS_MAX = 100
"""Messages of one client; it has little to say."""

_COMPLETE = 1000
_POLICY_VIOLATION = 1008
_SERVICE_RESTART = 1012
_REASON_BYTES_MAX = 123
"""What a close frame holds beside its code."""


class Command(msgspec.Struct):
    """What a client may send: it asks for the job's end."""

    # Not msgspec's tag: an object without it would do.
    type: Literal["cancel"]


@router.websocket("/{job_id}/ws")
async def follow_job(
    websocket: WebSocket,
    job_id: str,
    here: Annotated[Service, Depends(service_of)],
    streams: Annotated[Streams, Depends(streams_of)],
) -> None:
    """Send the job's events as they come, and take `{"type": "cancel"}`.

    A refusal closes with 4000 plus the status that HTTP would answer.
    """
    with contextlib.suppress(WebSocketDisconnect):
        # Accepted first: a browser is not told why a handshake was refused.
        await websocket.accept()
        try:
            _check_origin(websocket, here)
            after = read_seq(websocket.query_params.get("after", "0"), "after")
            with contextlib.ExitStack() as stack:
                stream = await streams.open(websocket, job_id, after, stack)
                code, reason = await _converse(websocket, here, stream, job_id)
        except HoldfastError as error:
            code, reason = 4000 + status_of(error), error.message
        await websocket.close(code, _fitting(reason))


async def _converse(websocket: WebSocket, here: Service, stream: Stream, job_id: str) -> tuple[int, str]:
    """Speak and listen until either is over; returns how to close."""
    both = (
        asyncio.create_task(_tell(websocket, stream)),
        asyncio.create_task(_listen(websocket, here, job_id)),
    )
    try:
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
    return next(task for task in both if task in done).result()


async def _tell(websocket: WebSocket, stream: Stream) -> tuple[int, str]:
    async for frames in stream.batches():
        for frame in frames:
            await websocket.send_text(frame.json.decode())
    return (_COMPLETE, "") if stream.complete else (_SERVICE_RESTART, "the server stops; come back")


async def _listen(websocket: WebSocket, here: Service, job_id: str) -> tuple[int, str]:
    for _ in range(COMMANDS_MAX):
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        try:
            await _obey(websocket, here, job_id, message.get("text"))
        except HoldfastError as error:
            told = {"type": "error", "code": error.code, "detail": error.message, "hint": error.hint}
            await websocket.send_text(msgspec.json.encode(told).decode())
    return _POLICY_VIOLATION, f"more than {COMMANDS_MAX} messages"


async def _obey(websocket: WebSocket, here: Service, job_id: str, text: str | None) -> None:
    """Do what a message asks for.

    Raises:
        InvalidInputError: It asks for nothing that is known.
        HoldfastError: It cannot be done, or not by this client.
    """
    try:
        msgspec.json.decode(text or "", type=Command)
    except (msgspec.MsgspecError, RecursionError):
        raise InvalidInputError(
            "a message was not understood", hint='the only one is {"type": "cancel"}'
        ) from None
    await permitted(websocket, Action.CONTROL)
    await here.client.cancel(job_id)


def _check_origin(websocket: WebSocket, here: Service) -> None:
    """Refuse a page of another site that counts on the browser to send the console's cookie.

    Unlike a request, a WebSocket is opened by any page, and CORS does not keep it from reading.

    Raises:
        AccessDeniedError: It comes from there.
    """
    origin = websocket.headers.get("origin")
    if origin is None or SESSION_COOKIE not in websocket.cookies or given_key(websocket) is not None:
        return
    options = here.options
    local = options.open_access and is_loopback_page(origin)
    if not (is_own(websocket, origin) or origin in options.cors_origins or local):
        raise AccessDeniedError(name=f"a page of {origin[:100]}", action=Action.CONTENT)


def _fitting(reason: str) -> str:
    """Cut a reason to what a close frame holds."""
    return reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
