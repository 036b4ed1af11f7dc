"""Addresses of an order's pages, with what lets their holder in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.clock import Clock
    from holdfast.server.tokens import Tokens

LINK_LIFETIME: Final = timedelta(days=60)
"""How long the links in e-mails and the page after paying open an order."""

_PURPOSE = "order"


class Links:
    """Makes addresses below the service's own, and reads the tokens in them. Nothing is kept of them."""

    def __init__(self, public_url: str, tokens: Tokens, clock: Clock) -> None:
        """Take where the service is reached from outside, and what signs."""
        self._base = public_url.rstrip("/")
        self._tokens = tokens
        self._clock = clock

    def expiry(self) -> datetime:
        """Return until when an address that is made now opens its order."""
        return self._clock.now() + LINK_LIFETIME

    def token(self, order_id: str, since: datetime | None = None) -> str:
        """Return what lets its holder see the order and download what it brought.

        Args:
            order_id: The order.
            since: When its lifetime begins; now by default.
        """
        until = (since or self._clock.now()) + LINK_LIFETIME
        return self._tokens.sign_until(_PURPOSE, order_id, until)

    def admits(self, token: str, order_id: str) -> bool:
        """Whether the token is for this order and has not expired."""
        return bool(self._tokens.read(_PURPOSE, token) == order_id)

    def order_page(self, order_id: str, since: datetime | None = None) -> str:
        """Return the address of the page that follows an order, for its customer; see `token`."""
        return self._url(f"/orders/{quote(order_id)}", token=self.token(order_id, since))

    def file(self, order_id: str, product: str) -> str:
        """Return the address of the PDF of one product of an order."""
        path = f"/orders/{quote(order_id)}/files/{quote(product)}"
        return self._url(path, token=self.token(order_id))

    def product_page(self, product: str) -> str:
        """Return the address of the page on which a product is ordered."""
        return self._url(f"/reports/{quote(product)}")

    def _url(self, path: str, **query: str) -> str:
        return f"{self._base}{path}{'?' + urlencode(query) if query else ''}"
