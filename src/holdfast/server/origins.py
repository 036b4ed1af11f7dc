"""Where a request comes from, by what browsers and proxies say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from holdfast.errors import AccessDeniedError
from holdfast.server.service import service_of
from holdfast.settings import is_loopback

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing; browsers send them for any page."""

_FORWARDED = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
)
"""What a proxy adds: whoever is behind it is not on this machine."""

_NOWHERE = urlsplit("")


def is_local(connection: HTTPConnection) -> bool:
    """Whether a request was made on this machine for this machine, and not by a page of another site.

    Nothing that a client can choose is enough by itself: the connection must come from loopback, no
    proxy may have brought it, and Host and Origin must be loopback names. A name that resolves to
    127.0.0.1 lets any web page reach a loopback port, but its requests carry that name.
    """
    headers, client = connection.headers, connection.client
    if client is None or not is_loopback(client.host) or any(name in headers for name in _FORWARDED):
        return False
    if headers.get("sec-fetch-site") == "cross-site":
        return False
    origin = headers.get("origin")
    named = _split(f"//{headers.get('host', '')}")
    return _is_near(named) and (origin is None or _is_near(_split(origin)))


def refuse_foreign(connection: HTTPConnection, action: str) -> None:
    """Refuse what a page of another site has sent, by what browsers say of it.

    Raises:
        AccessDeniedError: A page from elsewhere counts on the browser to send the console's cookie.
    """
    site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
    if site not in {None, "same-origin", "none"}:
        raise AccessDeniedError(name="a page of another site", action=action)
    if origin is not None and not is_own(connection, origin):
        raise AccessDeniedError(name=f"a page of {origin[:100]!r}", action=action)


def is_own(connection: HTTPConnection, origin: str) -> bool:
    """Whether an origin is a page of this service: as it was asked for, or as it is set."""
    place = _split(origin).netloc
    public = service_of(connection).options.public_url
    return bool(place) and place in {connection.headers.get("host", ""), _split(public).netloc}


def is_loopback_page(origin: str) -> bool:
    """Whether an origin is a page of this machine."""
    return _is_near(_split(origin))


def _is_near(place: SplitResult) -> bool:
    try:
        return is_loopback(place.hostname or "")
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    """Take a URL apart; one that cannot be is nowhere."""
    try:
        return urlsplit(url)
    except ValueError:
        return _NOWHERE
