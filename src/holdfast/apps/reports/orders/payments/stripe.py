"""Payments by Stripe Checkout, through Stripe's own library."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, TypeVar

import aiohttp
import stripe

from holdfast.apps.reports.orders.payments.base import PAGE_LIFETIME, PageRequest, PaymentPage
from holdfast.apps.reports.orders.payments.events import ORDER_ID, read_event, tell_session
from holdfast.apps.reports.orders.payments.signatures import Signatures
from holdfast.clock import Clock
from holdfast.errors import InvalidInputError, OrderStateError, PaymentServiceError
from holdfast.store.orders import Order, PaymentEvent

TIMEOUT_SECONDS: Final = 10.0
TITLE_CHARACTERS_MAX: Final = 250

_CONNECT_SECONDS = 5.0
_RETRIES = 2
_KEYS_MAX = 3

Answer = TypeVar("Answer")


class StripePayments:
    """Stripe's side of a shop: makes pages, reads webhooks, looks payments up."""

    def __init__(
        self,
        api_key: str,
        webhook_secrets: Sequence[str],
        *,
        api_base: str | None = None,
        clock: Clock,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Connect to nothing yet.

        Args:
            api_key: Secret or restricted key; of test mode or live.
            webhook_secrets: Of the endpoint; several while one is rolled.
            api_base: Where Stripe's API is; None for Stripe's own.
            clock: Tells how old a webhook is.
            timeout_seconds: How long each of up to three tries of a request may take.
        """
        _keep_quiet()
        self._test = "_test_" in api_key[:8]
        self._signatures = Signatures(webhook_secrets, clock)
        self._http = _Http(
            timeout=aiohttp.ClientTimeout(total=timeout_seconds, connect=_CONNECT_SECONDS)
        )
        self._client = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base.rstrip("/")} if api_base else {},
            http_client=self._http,
            max_network_retries=_RETRIES,
        )

    async def open_page(self, request: PageRequest) -> PaymentPage:
        order = request.order
        if order.session_id is not None:
            session = await _answer(self._sessions.retrieve_async(order.session_id))
            if session.status != "open":
                raise OrderStateError(
                    order_id=order.order_id, status=str(session.status), action="be paid any more"
                )
        else:
            session = await self._create(request)
        if session.url is None:
            raise PaymentServiceError("Stripe has made a page without an address", hint="order again")
        return PaymentPage(session_id=session.id, url=session.url)

    async def _create(self, request: PageRequest, number: int = 1) -> stripe.checkout.Session:
        """Make the page under the order's id as idempotency key, so that repeating makes no second one.

        Stripe repeats a failure of its own as faithfully as an answer. Nobody can pay on a page that it
        has told nobody of, so it is safe to go on under another key, always the same ones in turn.
        """
        order_id = request.order.order_id
        key = order_id if number == 1 else f"{order_id}/{number}"
        try:
            return await self._sessions.create_async(_page(request), {"idempotency_key": key})
        except stripe.StripeError as error:
            if number == _KEYS_MAX or not _is_old_failure(error):
                raise _told(error) from None
        return await self._create(request, number + 1)

    def read_event(self, body: bytes, signature: str) -> PaymentEvent | None:
        self._signatures.check(body, signature)
        return read_event(body)

    async def look_up(self, order: Order) -> PaymentEvent | None:
        if order.session_id is None:
            return None
        asking = self._sessions.retrieve_async(
            order.session_id, {"expand": ["payment_intent.latest_charge"]}
        )
        session = await _answer(asking)
        try:
            return tell_session(session.to_dict(), order)
        except InvalidInputError as error:
            raise PaymentServiceError(error.message, hint="tell whoever runs the shop") from None

    async def check(self) -> str:
        # Pages are all that a restricted key needs to reach, so nothing else is asked for.
        await _answer(self._sessions.list_async({"limit": 1}))
        return "Stripe, with a test key: nobody pays" if self._test else "Stripe, live"

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    @property
    def _sessions(self) -> stripe.checkout.SessionService:
        return self._client.v1.checkout.sessions


class _Http(stripe.AIOHTTPClient):
    """The library's HTTP client, which does not see that an answer breaks off in the middle."""

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            return await super().request_async(method, url, headers, post_data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            cut = stripe.APIConnectionError(type(error).__name__, should_retry=True)  # type: ignore[no-untyped-call]
            raise cut from None


def _page(request: PageRequest) -> Any:
    """Return what Stripe needs to know of a page; the same for the same order."""
    order = request.order
    ours = {ORDER_ID: order.order_id}
    return {
        "mode": "payment",
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": order.currency,
                    "unit_amount": order.amount_cents,
                    "product_data": {"name": request.title[:TITLE_CHARACTERS_MAX]},
                },
            }
        ],
        "client_reference_id": order.order_id,
        "metadata": ours,
        # What refunds tell of is the payment's charge, which has its metadata from here.
        "payment_intent_data": {"metadata": ours},
        "customer_email": request.email,
        "success_url": request.success_url,
        "cancel_url": request.cancel_url,
        "expires_at": int((order.created_at + PAGE_LIFETIME).timestamp()),
    }


async def _answer(call: Awaitable[Answer]) -> Answer:
    try:
        return await call
    except stripe.StripeError as error:
        raise _told(error) from None


def _is_old_failure(error: stripe.StripeError) -> bool:
    """Whether Stripe repeats that it has failed before, instead of trying again."""
    headers = {name.lower(): text for name, text in (error.headers or {}).items()}
    return (error.http_status or 0) >= 500 and headers.get("idempotent-replayed") == "true"


def _told(error: stripe.StripeError) -> PaymentServiceError | InvalidInputError:
    """Return our error for Stripe's, whose message may quote an e-mail address or part of a key."""
    if isinstance(error, stripe.APIConnectionError):
        return PaymentServiceError("Stripe does not answer", hint="try again in a minute")
    if isinstance(error, stripe.AuthenticationError):
        return PaymentServiceError(
            "Stripe does not know our key",
            hint="correct HOLDFAST_STRIPE_API_KEY; 'holdfast doctor' tests it",
        )
    if isinstance(error, stripe.PermissionError):
        return PaymentServiceError(
            "our key does not allow Checkout Sessions at Stripe",
            hint="give it the permission to write them, or use another key",
        )
    if error.code == "email_invalid":
        return InvalidInputError(
            "the payment service does not take this e-mail address", hint="check how it is written"
        )
    if isinstance(error, stripe.IdempotencyError):
        return PaymentServiceError(
            "Stripe was asked for the page of this order before, in other words", hint="order again"
        )
    where = f", parameter {error.param!r}" if isinstance(error, stripe.InvalidRequestError) else ""
    return PaymentServiceError(
        f"Stripe refuses with status {error.http_status}"
        f" ({error.code or 'no code'}{where}, request {error.request_id or 'unknown'})",
        hint="try again; Stripe's dashboard shows the request by its id",
    )


def _keep_quiet() -> None:
    """Have the library tell nothing of this machine, and log no requests: they hold e-mail addresses."""
    stripe.enable_telemetry = False
    logging.getLogger("stripe").setLevel(logging.WARNING)
