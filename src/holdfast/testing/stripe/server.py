"""The local Stripe's API over HTTP, as Stripe's own libraries speak it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl

from aiohttp import BasicAuth, web

from holdfast.clock import SystemClock
from holdfast.ids import new_id
from holdfast.testing.stripe.books import Books, Method
from holdfast.testing.stripe.courier import Courier
from holdfast.testing.stripe.faults import FaultKind, FaultPlan
from holdfast.testing.stripe.idempotency import Answered, Idempotency
from holdfast.testing.stripe.pages import read_page
from holdfast.testing.stripe.problems import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.clock import Clock

API_KEY = "sk_test_local_5Qw9eRtYu1iOp"
WEBHOOK_SECRET = "whsec_local_8aSdFgHjKl2zXcVbNm"  # noqa: S105 - of a server for tests

_HANG_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was let in."""

    fields: dict[str, str]
    """Of the form or the query, names as they were sent: `metadata[order_id]`."""
    object_id: str = ""
    """The one in the path, if there is one."""


class StripeSimulator:
    """An async context manager that serves on a loopback port while it is open."""

    def __init__(
        self,
        *,
        api_key: str = API_KEY,
        webhook_secret: str = WEBHOOK_SECRET,
        clock: Clock | None = None,
        faults: FaultPlan | None = None,
        port: int = 0,
    ) -> None:
        """Prepare a server.

        Args:
            api_key: The only key that it knows.
            webhook_secret: What its webhooks are signed with.
            clock: For its times and signatures; the machine's by default.
            faults: When to fail; also open to orders while running.
            port: 0 for a free one.
        """
        clock = clock or SystemClock()
        self.faults = faults or FaultPlan()
        self.courier = Courier(webhook_secret, clock)
        self.books = Books(clock, self.courier.add)
        self.requests: list[tuple[str, str]] = []
        """Method and path of each request that came, faulty ones included."""
        self.headers: list[dict[str, str]] = []
        """Their headers, by names in lower case."""
        self._api_key = api_key
        self._idempotency = Idempotency()
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """What a client takes as Stripe's address."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(
            [
                web.post("/v1/checkout/sessions", self._answering(self._open)),
                web.get("/v1/checkout/sessions", self._answering(self._list)),
                web.get("/v1/checkout/sessions/{id}", self._answering(self._look)),
                web.post("/v1/checkout/sessions/{id}/expire", self._answering(self._expire)),
                web.post("/v1/refunds", self._answering(self._refund)),
                web.get("/c/pay/{id}", self._page),
                web.post("/c/pay/{id}", self._pay),
            ]
        )
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", self._port), backlog=1024)
        self._port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.courier.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # --- the API: each act either answers or raises ApiError --------------------------------------

    def _open(self, asked: Asked) -> dict[str, Any]:
        purchase = read_page(asked.fields, self.books.now, self.base_url)
        self.books.open(purchase)
        return purchase.session()

    def _list(self, asked: Asked) -> dict[str, Any]:
        limit = int(asked.fields.get("limit", "10"))
        newest = [each.session() for each in reversed(self.books.purchases.values())]
        return {
            "object": "list",
            "data": newest[:limit],
            "has_more": len(newest) > limit,
            "url": "/v1/checkout/sessions",
        }

    def _look(self, asked: Asked) -> dict[str, Any]:
        wanted = [value for name, value in asked.fields.items() if name.startswith("expand[")]
        return self.books.find(asked.object_id).session(expand="payment_intent.latest_charge" in wanted)

    def _expire(self, asked: Asked) -> dict[str, Any]:
        return self.books.expire(asked.object_id).session()

    def _refund(self, asked: Asked) -> dict[str, Any]:
        payment_id = asked.fields.get("payment_intent") or asked.fields.get("charge")
        if payment_id is None:
            raise invalid("One of the following params should be provided: payment_intent", "charge")
        cents = asked.fields.get("amount")
        refund = self.books.refund(payment_id, None if cents is None else int(cents))
        return {
            "id": refund.refund_id,
            "object": "refund",
            "amount": refund.cents,
            "payment_intent": self.books.find(refund.session_id).payment_id,
            "status": "succeeded",
        }

    # --- one request ------------------------------------------------------------------------------

    def _answering(self, act: Callable[[Asked], dict[str, Any]]) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.requests.append((request.method, request.path))
            self.headers.append({name.lower(): text for name, text in request.headers.items()})
            raw = await request.read()
            fault = self.faults.draw()
            if fault is FaultKind.HANG:
                await asyncio.sleep(_HANG_SECONDS)
            try:
                self._let_in(request)
                answered, repeated = self._once(request, raw, act, fault)
            except ApiError as error:
                answered, repeated = Answered(error.status, error.body), False
            return await _respond(request, answered, repeated=repeated, fault=fault)

        return answer

    def _once(
        self,
        request: web.Request,
        raw: bytes,
        act: Callable[[Asked], dict[str, Any]],
        fault: FaultKind | None,
    ) -> tuple[Answered, bool]:
        """Answer, or repeat what was answered under the same key; tell which of the two."""
        _fail_before(fault)
        key = request.headers.get("Idempotency-Key", "") if request.method == "POST" else ""
        signature = request.path.encode() + b"\n" + raw
        if key and (known := self._idempotency.recall(key, signature)) is not None:
            return known, True
        encoded = raw.decode() if request.method == "POST" else request.query_string
        fields = dict(parse_qsl(encoded, keep_blank_values=True, strict_parsing=bool(encoded)))
        asked = Asked(fields=fields, object_id=request.match_info.get("id", ""))
        if fault is FaultKind.SERVER_ERROR:
            message = {"error": {"message": "An unknown error occurred", "type": "api_error"}}
            answered = Answered(500, message)
        else:
            answered = Answered(200, act(asked))
        if key:
            self._idempotency.keep(key, signature, answered)
        return answered, False

    def _let_in(self, request: web.Request) -> None:
        header = request.headers.get("Authorization", "")
        if header.startswith("Basic "):
            key = BasicAuth.decode(header).login
        else:
            key = header.removeprefix("Bearer ")
        if key != self._api_key:
            raise ApiError(401, f"Invalid API Key provided: {key[:8]}****{key[-4:]}")

    # --- the page on which customers pay ----------------------------------------------------------

    async def _page(self, request: web.Request) -> web.Response:
        purchase = self.books.find(request.match_info["id"])
        price = f"{purchase.amount_cents / 100:.2f} {purchase.currency.upper()}"
        buttons = "".join(f'<button name="method" value="{each}">{each}</button>' for each in Method)
        text = f'<!doctype html><title>Pay</title><p>{price}</p><form method="post">{buttons}</form>'
        return web.Response(text=text, content_type="text/html")

    async def _pay(self, request: web.Request) -> web.Response:
        form = await request.post()
        purchase = self.books.pay(request.match_info["id"], Method(str(form.get("method"))))
        target = (purchase.success_url or "/").replace("{CHECKOUT_SESSION_ID}", purchase.session_id)
        raise web.HTTPSeeOther(target)


def _fail_before(fault: FaultKind | None) -> None:
    """Refuse before anything is done, if that is what the fault does.

    Raises:
        ApiError: It is.
    """
    if fault is FaultKind.UNAVAILABLE:
        raise ApiError(503, "Stripe is unavailable", error_type="api_error")
    if fault is FaultKind.RATE_LIMIT:
        raise ApiError(429, "Too many requests", code="rate_limit")
    if fault is FaultKind.FORBIDDEN:
        raise ApiError(403, "The provided key does not have the required permissions")


async def _respond(
    request: web.Request, answered: Answered, *, repeated: bool, fault: FaultKind | None
) -> web.StreamResponse:
    headers = {"Request-Id": new_id("req"), "Content-Type": "application/json"}
    if repeated:
        headers["Idempotent-Replayed"] = "true"
    text = json.dumps(answered.body).encode()
    if fault is FaultKind.DROP:
        return _reset(request, web.Response())
    if fault is FaultKind.CUT:
        response = web.StreamResponse(status=answered.status, headers=headers)
        response.content_length = len(text)
        await response.prepare(request)
        await response.write(text[: len(text) // 2])
        return _reset(request, response)
    return web.Response(body=text, status=answered.status, headers=headers)


def _reset(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Send a TCP reset instead of the rest of the response."""
    if request.transport is not None:
        peer = request.transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return response
