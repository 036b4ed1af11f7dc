"""Where a service is."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from holdfast.errors import ConfigError

API = "/api/v1"
_HINT = "give its base, such as https://jobs.example or http://127.0.0.1:8000"


class Address:
    """The URL of a service; `str` of it may be shown, for it holds neither key nor password."""

    def __init__(self, url: str) -> None:
        """Check the URL.

        Raises:
            ConfigError: It is not one of a service.
        """
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ConfigError("the service's URL cannot be read", hint=_HINT) from None
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(
                f"a service's URL begins with http:// or https:// and names a host, this one with"
                f" {parts.scheme or 'neither'!r}",
                hint=_HINT,
            )
        if parts.username is not None or parts.query or parts.fragment:
            # Not quoted: it may hold a secret.
            raise ConfigError(
                "the service's URL has a user, a query or a fragment",
                hint="leave them out; the key goes into HOLDFAST_API_KEY",
            )
        self.scheme = parts.scheme
        self.host = host
        shown = f"[{host}]" if ":" in host else host
        self.base = f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}"
        self.path = parts.path.rstrip("/").removesuffix(API)
        """What the service is mounted under; empty for the root."""

    def __str__(self) -> str:
        return f"{self.base}{self.path}"


def is_near(host: str) -> bool:
    """Whether requests to a host stay on this machine, or in a network that is not public."""
    if "." not in host and ":" not in host:
        # A name without a dot is this machine's, or a container's beside it.
        return True
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host.endswith((".localhost", ".local", ".internal", ".svc"))
    return found.is_private or found.is_loopback
