"""Where deliveries may go: to public addresses, and into networks that the operator has named."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from holdfast.errors import InvalidInputError, WebhookRefusedError, WebhookUndeliveredError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx2

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

URL_CHARACTERS_MAX = 2_000

_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_BITS = 2**32 - 1

_NETWORKS_HINT = "the operator can allow networks with HOLDFAST_WEBHOOK_NETWORKS"


def check_url(url: str, networks: Sequence[Network]) -> None:
    """Refuse what can be known to be undeliverable before any name is looked up.

    Raises:
        InvalidInputError: It is no URL to post to, or names an address that is not allowed.
    """
    try:
        target = parse_url(url)
        if (literal := _literal(target.host)) is not None:
            check_addresses(target, (literal,), networks)
        elif target.scheme == "http" and not networks:
            raise _plain_text(target)
    except WebhookRefusedError as error:
        raise InvalidInputError(error.message, hint=error.hint) from None


def parse_url(url: str) -> httpx2.URL:
    """Read the URL of a webhook.

    Raises:
        WebhookRefusedError: Nothing can be posted there.
    """
    # Imported here: whoever only lists webhooks need not wait for it.
    import httpx2

    try:
        target = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise _malformed(str(error)) from None
    if len(url) > URL_CHARACTERS_MAX:
        raise _malformed(f"it is longer than {URL_CHARACTERS_MAX:,} characters")
    if target.scheme not in ("https", "http") or not target.host:
        raise _malformed("it does not begin with https:// and a host")
    if target.userinfo or target.fragment:
        raise _malformed("it has a user, a password or a fragment")
    return target


def check_addresses(
    target: httpx2.URL, addresses: Sequence[Address], networks: Sequence[Network]
) -> None:
    """Refuse a target unless each of its addresses is public or in one of the networks.

    The addresses are not named: whoever registers webhooks must not learn what names mean in here.

    Raises:
        WebhookUndeliveredError: There is no address.
        WebhookRefusedError: One is neither, or the request would be readable on its way.
    """
    if not addresses:
        raise WebhookUndeliveredError(f"host {target.host!r} has no address")
    inside = [_is_in(address, networks) for address in addresses]
    if not all(
        allowed or is_public(address) for allowed, address in zip(inside, addresses, strict=True)
    ):
        raise WebhookRefusedError(
            f"host {target.host!r} has an address that is not public", hint=_NETWORKS_HINT
        )
    if target.scheme == "http" and not all(inside):
        raise _plain_text(target)


def is_public(address: Address) -> bool:
    """Whether the whole internet means the same machine by it, also where it only wraps another one."""
    wrapped = _wrapped(address)
    if wrapped is not None:
        return is_public(wrapped)
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or (isinstance(address, IPv6Address) and address.is_site_local)
    )


def _wrapped(address: Address) -> IPv4Address | None:
    """Return the address that packets to this one end at: mapped, by NAT64 or by 6to4."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & _IPV4_BITS)
    return address.ipv4_mapped or address.sixtofour


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    meant = _wrapped(address) or address
    return any(meant in network for network in networks)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _malformed(reason: str) -> WebhookRefusedError:
    return WebhookRefusedError(
        f"the URL of a webhook cannot be used: {reason}", hint="give one like https://shop.example/hooks"
    )


def _plain_text(target: httpx2.URL) -> WebhookRefusedError:
    return WebhookRefusedError(
        f"host {target.host!r} is not in an allowed network, and http:// can be read on its way there",
        hint=f"use https://; {_NETWORKS_HINT}",
    )
