"""Posts a delivery: to addresses that were checked, within a time and a size, following nothing."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import httpx2

from holdfast.errors import WebhookUndeliveredError
from holdfast.webhooks.addresses import check_addresses, parse_url
from holdfast.webhooks.lookups import Lookups

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence

    from holdfast.clock import Clock
    from holdfast.webhooks.addresses import Address, Network
    from holdfast.webhooks.lookups import Resolve

LIMIT_SECONDS = 15.0
"""From looking up the name, once there is a thread for that, to the answer's last byte."""

CONNECT_SECONDS = 5.0
"""For one address of several."""

ANSWER_BYTES_MAX = 64 * 1024
"""An answer's body says nothing to us; so much of it is read, so that small ones end well."""

ADDRESSES_MAX = 4
"""Addresses of a name that are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the receiver said."""

    status: int
    retry_after: timedelta | None


class Sender:
    """Posts to wherever a URL's name leads, unless that is a network of ours."""

    def __init__(
        self,
        clock: Clock,
        *,
        networks: Sequence[Network] = (),
        resolve: Resolve | None = None,
        ssl_context: ssl.SSLContext | None = None,
        limit_seconds: float = LIMIT_SECONDS,
    ) -> None:
        """Prepare to send.

        Args:
            clock: For a Retry-After that is a date.
            networks: Where requests may go beside public addresses, there without TLS, too.
            resolve: Looks names up, in a thread; the machine's own way by default.
            ssl_context: Whose certificates to trust; the machine's choice by default.
            limit_seconds: For one request, all in all.
        """
        self._clock = clock
        self._networks = networks
        self._lookups = Lookups(resolve)
        self._ssl_context = ssl_context
        self._limit_seconds = limit_seconds

    def close(self) -> None:
        """Let go of the threads."""
        self._lookups.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once and return the answer, whatever it is.

        The time limit begins with the request's turn: one that waits for others has not been tried.

        Raises:
            WebhookRefusedError: The URL leads where requests must not go.
            WebhookUndeliveredError: There was no answer in time.
        """
        target = parse_url(url)
        port = target.port or (443 if target.scheme == "https" else 80)
        trusted = await self._trust()
        looked_up = await self._lookups.begin(target.raw_host.decode(), port)
        answer: Answer | None = None
        try:
            async with asyncio.timeout(self._limit_seconds):
                # Who gives up leaves it to those who still wait.
                addresses = await asyncio.shield(looked_up)
                check_addresses(target, addresses, self._networks)
                request_at = _request_to(target, body, headers)
                # No client around it: that would take proxies, cookies and passwords from elsewhere,
                # and log the URL, which may be a secret.
                transport = httpx2.AsyncHTTPTransport(verify=trusted, trust_env=False)
                async with transport:
                    response = await _ask(transport, addresses[:ADDRESSES_MAX], request_at)
                    # The status has decided, whatever becomes of the body.
                    answer = self._answer_of(response)
                    await _read_a_little(response)
                return answer
        except (TimeoutError, httpx2.TransportError) as error:
            if answer is not None:
                return answer
            raise self._undelivered(target, error) from error

    def _answer_of(self, response: httpx2.Response) -> Answer:
        after = retry_after(response.headers.get("retry-after"), self._clock.now())
        return Answer(status=response.status_code, retry_after=after)

    async def _trust(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            # In a thread: reading all certificates takes a while.
            self._ssl_context = await asyncio.to_thread(httpx2.create_ssl_context)
        return self._ssl_context

    def _undelivered(self, target: httpx2.URL, error: Exception) -> WebhookUndeliveredError:
        if isinstance(error, TimeoutError | httpx2.TimeoutException):
            told = f"host {target.host!r} did not answer within {self._limit_seconds:g} s"
        else:
            # Of others, the text may quote what the receiver has sent.
            reason = f": {error}" if isinstance(error, httpx2.ConnectError) else ""
            told = f"the request to host {target.host!r} failed ({type(error).__name__}{reason})"
        return WebhookUndeliveredError(told)


def retry_after(text: str | None, now: datetime) -> timedelta | None:
    """Read a Retry-After, in seconds or as a date; None if it says nothing that can be used."""
    if text is None:
        return None
    if text.strip().isdecimal() and len(text) < 10:
        return timedelta(seconds=int(text))
    try:
        named = parsedate_to_datetime(text)
    except ValueError:
        return None
    # A date without a zone is meant in UTC.
    named = named if named.tzinfo else named.replace(tzinfo=UTC)
    return max(named - now, timedelta())


def _request_to(
    target: httpx2.URL, body: bytes, headers: Mapping[str, str]
) -> Callable[[Address], httpx2.Request]:
    """Return what makes the request to one address: TLS, certificate and Host still go by the name.

    Connecting to the very address that was checked leaves a name server nothing to change in between.
    """
    told = {
        **headers,
        "Host": target.netloc.decode(),
        "Content-Type": "application/json",
        "User-Agent": f"holdfast/{version('holdfast')}",
        "Accept-Encoding": "identity",
        # A connection kept open to an address could be taken for another name's.
        "Connection": "close",
    }
    limits = httpx2.Timeout(LIMIT_SECONDS, connect=CONNECT_SECONDS).as_dict()
    extensions = {"sni_hostname": target.raw_host.decode(), "timeout": limits}

    def request_at(address: Address) -> httpx2.Request:
        there = target.copy_with(host=str(address))
        return httpx2.Request("POST", there, content=body, headers=told, extensions=extensions)

    return request_at


async def _ask(
    transport: httpx2.AsyncHTTPTransport,
    addresses: Sequence[Address],
    request_at: Callable[[Address], httpx2.Request],
) -> httpx2.Response:
    """Post to the first address that a connection can be made to."""
    for address in addresses[:-1]:
        with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
            return await transport.handle_async_request(request_at(address))
    return await transport.handle_async_request(request_at(addresses[-1]))


async def _read_a_little(response: httpx2.Response) -> None:
    size = 0
    async with contextlib.aclosing(response):
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > ANSWER_BYTES_MAX:
                return
