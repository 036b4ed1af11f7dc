"""Requests over HTTP: with time limits, bounded answers, and tried again where that does no harm."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec

from holdfast.codec import VALUE_BYTES_MAX
from holdfast.errors import ConfigError, HoldfastError, ServiceUnavailableError, ValueTooLargeError
from holdfast.ids import jitter
from holdfast.remote.address import API, is_near
from holdfast.remote.problems import AWAY, UNHEARD, error_of, not_ours, seconds_after

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from holdfast.clock import Clock
    from holdfast.remote.address import Address

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
"""Without a single byte, for an answer that is not a stream."""

ANSWER_SECONDS = 120.0
"""For a whole answer, however steadily it trickles."""

SILENCE_SECONDS = 45.0
"""A stream without a single byte for so long is cut: its heartbeats come every 15 s."""

ATTEMPTS_MAX = 4
WAIT_SECONDS_MAX = 60.0
"""A service that wants to be left alone for longer is not waited for."""

_BACKOFF_SECONDS = 0.25
_ANSWER_BYTES_MAX = 3 * VALUE_BYTES_MAX
_CONNECTIONS_MAX = 1_000
_REASON_CHARACTERS = 200
_NO_PROXIES = dict.fromkeys(("all://", "http://", "https://"))
"""Takes away what the environment names; its certificates (`SSL_CERT_FILE`) still count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request."""

    method: str
    path: str
    """Below `/api/v1`, escaped."""
    query: Mapping[str, Any] | None = None
    body: bytes | None = None
    """JSON."""
    headers: Mapping[str, str] | None = None
    repeatable: bool = False
    """Whether doing it twice is as good as once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request has got: never one that tells of an error."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class AwayError(Exception):
    """Inside of this package: the request may succeed later."""

    def __init__(self, error: HoldfastError, *, heard: bool, after: float | None = None) -> None:
        """Say what to raise in the end.

        Args:
            error: That.
            heard: Whether the service may have done what it was asked for.
            after: Seconds that it wants to be left alone for.
        """
        super().__init__(str(error))
        self.error = error
        self.heard = heard
        self.after = after


class Transport:
    """A connection pool to one service."""

    def __init__(
        self,
        address: Address,
        key: str | None,
        clock: Clock,
        http: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Describe it; nothing is opened before the first request.

        Raises:
            ConfigError: The key has characters that cannot be sent.
        """
        self.address = address
        self.clock = clock
        headers = {"User-Agent": f"holdfast/{version('holdfast')}"}
        if key is not None:
            if not (key.isascii() and key.isprintable() and " " not in key):
                raise ConfigError("the key to the service has characters that no key has")
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx2.AsyncClient(
            headers=headers,
            transport=http,
            # Others get the environment's proxies, which lead out of this network.
            mounts=_NO_PROXIES if is_near(address.host) else None,
            timeout=_patience(READ_SECONDS),
            limits=httpx2.Limits(max_connections=_CONNECTIONS_MAX, max_keepalive_connections=20),
            # A redirect would carry the key to wherever it leads.
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def ask(self, call: Call) -> Answer:
        """Return the answer to a request, tried again up to `ATTEMPTS_MAX` times where it may be.

        That is where the service has certainly not done it, or where doing it twice is as good as once.

        Raises:
            ServiceUnavailableError: The service cannot be reached, or gave no answer.
            ConfigError: Whatever is there is no service of ours.
            HoldfastError: What the service tells.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(call)
            except AwayError as away:
                wait = wait_seconds(attempt, away.after)
                if (away.heard and not call.repeatable) or attempt >= ATTEMPTS_MAX or wait is None:
                    raise away.error from away.__cause__
                logger.info(
                    "request is tried again",
                    extra={"path": call.path, "error": away.error.code, "wait_seconds": round(wait, 3)},
                )
            await self.clock.sleep(wait)

    async def _once(self, call: Call) -> Answer:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self.open(call) as response:
                body = await _bounded(response, self.address)
        except TimeoutError:
            told = f"the service at {self.address} takes more than {ANSWER_SECONDS:g} s for its answer"
            raise AwayError(ServiceUnavailableError(told), heard=True) from None
        if body and media_type_of(response) != "application/json":
            raise not_ours(self.address, f"{media_type_of(response) or 'something'!r} instead of JSON")
        return Answer(status=response.status_code, headers=response.headers, body=body)

    @contextlib.asynccontextmanager
    async def open(
        self, call: Call, *, silence: float = READ_SECONDS
    ) -> AsyncGenerator[httpx2.Response]:
        """Give the answer to one request as it comes, for as long as no gap in it exceeds `silence`.

        Raises:
            AwayError, HoldfastError: See `ask`; also while the answer is read.
        """
        headers = dict(call.headers or {})
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self._http.stream(
                call.method,
                f"{self.address}{API}{call.path}",
                params=call.query,
                content=call.body,
                headers=headers,
                timeout=_patience(silence),
            ) as response:
                await self._refuse_errors(response)
                yield response
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise self._told(error) from error

    async def _refuse_errors(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status in (301, 302, 303, 307, 308):
            raise ConfigError(
                f"{self.address} sends on to {_origin(response.headers.get('Location', ''))}",
                hint="use the URL of that place if it is yours; a key is never sent on",
            )
        if status < 400:
            return
        body = await _bounded(response, self.address)
        error = error_of(status, media_type_of(response), body, self.address)
        if status in AWAY:
            after = seconds_after(response.headers.get("Retry-After"))
            # A store that is away may have been here.
            raise AwayError(error, heard=status not in UNHEARD, after=after)
        raise error

    def _told(self, error: Exception) -> AwayError | ConfigError:
        """Return what to raise for trouble on the way."""
        reason = _reason(error)
        if isinstance(error, httpx2.ConnectError) and _is_tls(error):
            return ConfigError(
                f"{self.address} offers no TLS that can be trusted ({reason})",
                hint="if it is served without TLS, the URL begins with http://; a certificate"
                " of your own goes into SSL_CERT_FILE",
            )
        if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL | httpx2.LocalProtocolError):
            return ConfigError(f"{self.address} cannot be asked ({reason})")
        unheard = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
        if unheard:
            told = f"the service at {self.address} cannot be reached ({reason})"
            hint = "check that 'holdfast serve' runs there and that the URL is right"
        else:
            told = f"the service at {self.address} broke off ({reason})"
            hint = "whether it has done what it was asked for is unknown"
            if self.address.scheme == "http":
                hint += "; if it is served by TLS, the URL begins with https://"
        return AwayError(ServiceUnavailableError(told, hint=hint), heard=not unheard)


def wait_seconds(attempt: int, after: float | None, *, base: float = _BACKOFF_SECONDS) -> float | None:
    """Return how long to wait before the next attempt; None if the service wants too much."""
    if after is not None and after > WAIT_SECONDS_MAX:
        return None
    backoff = min(base * 2.0 ** min(attempt - 1, 20), WAIT_SECONDS_MAX / 2) * (0.5 + jitter() / 2)
    # All that were turned away at once must not come back at once.
    return backoff if after is None else after + backoff / 4


def media_type_of(response: httpx2.Response) -> str:
    """Return the media type of an answer, without its parameters."""
    told: str = response.headers.get("Content-Type", "")
    return told.partition(";")[0].strip().lower()


def decode(answer: Answer, decoder: msgspec.json.Decoder[Any], address: Address) -> Any:
    """Return what an answer holds.

    Raises:
        ConfigError: It has another form.
    """
    try:
        return decoder.decode(answer.body)
    except msgspec.DecodeError as error:
        raise not_ours(address, f"JSON of another form ({error})") from None


async def _bounded(response: httpx2.Response, address: Address) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _ANSWER_BYTES_MAX:
            raise ValueTooLargeError(
                f"the answer of {address} is larger than {_ANSWER_BYTES_MAX} bytes",
                hint="ask for less at once",
            )
    return bytes(body)


def _patience(read: float) -> httpx2.Timeout:
    return httpx2.Timeout(connect=CONNECT_SECONDS, read=read, write=READ_SECONDS, pool=CONNECT_SECONDS)


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:_REASON_CHARACTERS]


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _origin(location: str) -> str:
    """Return the beginning of a URL, without what may be secret in it."""
    shown = location.partition("?")[0].partition("#")[0]
    scheme, separator, rest = shown.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"[:_REASON_CHARACTERS] or "nowhere"
