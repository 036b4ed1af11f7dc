"""The simulated provider: OpenAI's API with limits, latency, faults and a journal."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from holdfast.testing.provider.answers import error_answer, error_body, token_count, write_answer
from holdfast.testing.provider.faults import Fault, FaultKind, FaultPlan
from holdfast.testing.provider.journal import CallRecord, Journal
from holdfast.testing.provider.limits import QuotaLimits, charged_tokens, go_text, prompt_tokens

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.llm.providers.scripted import Writer
    from holdfast.testing.provider.answers import Answer

_TAG = re.compile(r"\[tag:([^\]]*)\]")
_PIECE_CHARACTERS = 16
_HANG_SECONDS = 3_600.0
_BODY_BYTES_MAX = 64 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderBehaviour:
    """How the simulated provider behaves; rates and latencies are in its own time."""

    rpm: float | None = None
    """Requests per minute; None for no limit."""
    tpm: float | None = None
    """Tokens per minute; None for no limit."""
    window_seconds: float = 10.0
    """How many seconds' worth may come at once."""
    first_token_seconds: float = 0.0
    tokens_per_second: float | None = None
    """None: the whole answer at once."""
    time_scale: float = 1.0
    """Its time runs this much faster than ours: at 60, its minutes are our seconds. Headers are
    in our time, so a client sees an account with limits that much higher."""


class ProviderSimulator:
    """An async context manager that serves on a loopback port while it is open."""

    def __init__(
        self,
        behaviour: ProviderBehaviour | None = None,
        *,
        writer: Writer | None = None,
        faults: FaultPlan | None = None,
        journal_path: Path | None = None,
        port: int = 0,
    ) -> None:
        """Prepare a server.

        Args:
            behaviour: Limits and latency; none by default.
            writer: Writes the answers; None for the scripted provider's samples.
            faults: When to fail; also open to orders while running.
            journal_path: File that gets a line of JSON when a call starts and when it ends.
            port: 0 for a free one.
        """
        self.behaviour = behaviour or ProviderBehaviour()
        self.faults = faults or FaultPlan()
        self.journal = Journal(journal_path)
        self.disconnects = asyncio.Semaphore(0)
        """Released once for each client that went away; a test awaits it instead of sleeping."""
        self.arrivals = asyncio.Semaphore(0)
        """Released once for each call that has arrived."""
        self._writer = writer
        self._port = port
        self._runner: web.AppRunner | None = None
        self._limits: QuotaLimits | None = None
        self._started_at = 0.0

    @property
    def port(self) -> int:
        """The port served on."""
        return self._port

    @property
    def base_url(self) -> str:
        """What a client takes as the API's root."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._started_at = loop.time()
        self._limits = QuotaLimits(
            rpm=_scaled(self.behaviour.rpm, self.behaviour.time_scale),
            tpm=_scaled(self.behaviour.tpm, self.behaviour.time_scale),
            window_seconds=self.behaviour.window_seconds / self.behaviour.time_scale,
            now=self._now(),
        )
        app = web.Application(client_max_size=_BODY_BYTES_MAX)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._completions),
                web.get("/v1/models", self._models),
                web.post("/_control/faults", self._order_faults),
                web.delete("/_control/faults", self._clear_faults),
                web.get("/_control/log", self._log),
            ]
        )
        # Without handler_cancellation a client that goes away is noticed at the next write only.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", self._port), backlog=1024)
        self._port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self.journal.close()

    # --- one call ---------------------------------------------------------------------------------

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = json.loads(raw)
        except ValueError:
            return web.json_response(error_body("The body is not JSON.", "invalid_json"), status=400)
        record = self._record(request, body)
        self.journal.start(record)
        self.arrivals.release()
        try:
            response = await self._respond(request, body, record)
            record.status = response.status
            return response
        except (asyncio.CancelledError, ConnectionResetError):
            record.disconnected = not (record.answered or record.reset)
            if record.disconnected:
                self.disconnects.release()
            raise
        finally:
            self.journal.end(record, self._now())

    def _record(self, request: web.Request, body: dict[str, Any]) -> CallRecord:
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        tag = request.headers.get("X-Holdfast-Tag", "")
        if not tag and (named := _TAG.search(_prompt(body))):
            tag = named[1]
        return CallRecord(
            number=len(self.journal.records) + 1,
            body_hash=hashlib.sha256(canonical).hexdigest(),
            tag=tag,
            client_request_id=request.headers.get("X-Client-Request-Id", ""),
            streamed=bool(body.get("stream")),
            started=self._now(),
            in_flight=0,
            charged_tokens=charged_tokens(body),
            input_tokens=prompt_tokens(body),
        )

    async def _respond(
        self, request: web.Request, body: dict[str, Any], record: CallRecord
    ) -> web.StreamResponse:
        assert self._limits is not None
        admission = self._limits.admit(record.charged_tokens, self._now())
        if admission.refused_by is not None:
            return _refusal(admission.refused_by, admission.retry_after_seconds, admission.headers)
        fault = self.faults.draw(record.number, tag=record.tag, prompt=_prompt(body))
        if fault is not None:
            record.fault = fault.kind.value
            failed = await self._fail(request, body, record, fault, admission.headers)
            if failed is not None:
                return failed
        answer = await write_answer(record.number, body, self._writer, fault)
        if record.streamed:
            return await self._stream(request, answer, record, fault, admission.headers)
        return await self._whole(request, answer, record, fault, admission.headers)

    async def _fail(
        self,
        request: web.Request,
        body: dict[str, Any],
        record: CallRecord,
        fault: Fault,
        headers: dict[str, str],
    ) -> web.StreamResponse | None:
        """Fail before any answer, if that is what the fault does."""
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        error = error_answer(fault, body, key)
        if error is not None:
            if fault.retry_after_seconds is not None:
                headers = {**headers, "Retry-After": f"{fault.retry_after_seconds:g}"}
            return web.json_response(error[1], status=error[0], headers=headers)
        if fault.kind is FaultKind.HANG:
            await asyncio.sleep(_HANG_SECONDS)
        if fault.kind is FaultKind.RESET:
            return _reset(request, record, web.Response())
        return None

    async def _whole(
        self,
        request: web.Request,
        answer: Answer,
        record: CallRecord,
        fault: Fault | None,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        await self._pass_time(answer.output_tokens, first=True)
        record.output_tokens = answer.output_tokens
        text = json.dumps(answer.completion())
        kind = fault.kind if fault is not None else None
        if kind in {FaultKind.CUT_STREAM, FaultKind.SILENT_CUT}:
            response = web.StreamResponse(headers={**headers, "Content-Type": "application/json"})
            response.content_length = len(text.encode())
            await response.prepare(request)
            await response.write(text.encode()[: len(text) // 2])
            return _reset(request, record, response)
        if kind is FaultKind.MALFORMED_JSON:
            text = text[: len(text) // 2]
        record.answered = kind is not FaultKind.MALFORMED_JSON
        return web.Response(text=text, content_type="application/json", headers=headers)

    async def _stream(
        self,
        request: web.Request,
        answer: Answer,
        record: CallRecord,
        fault: Fault | None,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        kind = fault.kind if fault is not None else None
        response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        await _send(response, answer.chunk({"role": "assistant", "content": ""}))
        for begin in range(0, len(answer.text), _PIECE_CHARACTERS):
            piece = answer.text[begin : begin + _PIECE_CHARACTERS]
            await self._pass_time(token_count(piece), first=begin == 0)
            if fault is not None and record.output_tokens >= fault.after_tokens:
                if kind is FaultKind.CUT_STREAM:
                    return _reset(request, record, response)
                if kind is FaultKind.SILENT_CUT:
                    return response
                if kind is FaultKind.MALFORMED_JSON:
                    await response.write(b'data: {"id": "chatcmpl-broken", "choi\n\n')
                    return response
            record.output_tokens += token_count(piece)
            await _send(response, answer.chunk({"content": piece}))
        if answer.refusal is not None:
            await _send(response, answer.chunk({"refusal": answer.refusal}))
        await _send(response, answer.chunk({}, answer.finish_reason))
        await _send(response, answer.usage_chunk())
        record.answered = True
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _pass_time(self, tokens: int, *, first: bool) -> None:
        seconds = self.behaviour.first_token_seconds if first else 0.0
        if self.behaviour.tokens_per_second is not None:
            seconds += tokens / self.behaviour.tokens_per_second
        if seconds > 0:
            await asyncio.sleep(seconds / self.behaviour.time_scale)

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._started_at

    # --- the rest of the API, and control ---------------------------------------------------------

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": []})

    async def _order_faults(self, request: web.Request) -> web.Response:
        try:
            asked = await request.json()
            faults = [Fault.parse(each) for each in asked["faults"]]
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response(error_body(str(error), "invalid_fault"), status=400)
        self.faults.order(*faults)
        return web.json_response({"pending": self.faults.pending}, status=201)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self.faults.clear()
        return web.json_response({"pending": 0})

    async def _log(self, _: web.Request) -> web.Response:
        return web.json_response(self.journal.as_json())


def _scaled(per_minute: float | None, time_scale: float) -> float | None:
    return None if per_minute is None else per_minute * time_scale


def _prompt(body: dict[str, Any]) -> str:
    return "\n".join(str(each.get("content", "")) for each in body.get("messages", ()))


def _refusal(refused_by: str, seconds: float, headers: dict[str, str]) -> web.Response:
    text = f"Rate limit reached on {refused_by} per min. Please try again in {go_text(seconds)}."
    waits = {"Retry-After": str(int(seconds) + 1), "retry-after-ms": f"{seconds * 1000:.0f}"}
    return web.json_response(
        error_body(text, "rate_limit_exceeded"), status=429, headers={**headers, **waits}
    )


def _reset(request: web.Request, record: CallRecord, response: web.StreamResponse) -> web.StreamResponse:
    """Send a TCP reset instead of the rest of the response."""
    record.reset = True
    transport = request.transport
    if transport is not None:
        peer = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return response


async def _send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
