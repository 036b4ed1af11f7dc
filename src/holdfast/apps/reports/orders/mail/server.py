"""Which SMTP server to speak to, and how: what `HOLDFAST_SMTP_URL` says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from holdfast.errors import ConfigError
from holdfast.settings import is_loopback

if TYPE_CHECKING:
    from urllib.parse import SplitResult

PORTS: Final = {"smtp": 587, "smtps": 465}
"""Of the schemes, where a URL names no port: those at which services take e-mails from their users."""

_HOST = re.compile(r"[^\s%/\\]+")


class Encryption(StrEnum):
    """How a connection is encrypted. Certificates are always checked."""

    TLS = "TLS"
    """From the first byte on."""
    STARTTLS = "STARTTLS"
    """As soon as the server offers it; not at all if it does not."""
    NONE = "no encryption"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """A server, how to speak to it and how to log in."""

    host: str
    port: int
    encryption: Encryption
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """For people: without user and password."""
        return f"{self.host}:{self.port}"

    @property
    def nearby(self) -> bool:
        """Whether what is said to it does not leave this machine."""
        return is_loopback(self.host)


def parse_smtp_url(url: str) -> SmtpServer:
    """Read a URL such as `smtp://user:password@host:587`.

    Raises:
        ConfigError: It cannot be used. What is told holds nothing of it, for it may hold a password.
    """
    parts = _split(url)
    if parts is None:
        raise _unusable("it is no URL")
    if parts.scheme not in PORTS:
        raise _unusable("it begins with neither smtp:// nor smtps://")
    host = parts.hostname or ""
    if not _HOST.fullmatch(host) or parts.path not in ("", "/") or parts.fragment:
        raise _unusable("it is not a host with, if need be, a user, a password and a port")
    user, password = _decoded(parts.username), _decoded(parts.password)
    if bool(user) != bool(password):
        raise _unusable("it has a user without a password, or a password without a user")
    return SmtpServer(
        host=host,
        port=parts.port or PORTS[parts.scheme],
        encryption=_encryption_of(parts),
        user=user or None,
        password=password or None,
    )


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reads it, and raises
        _decoded(parts.username), _decoded(parts.password)
    except ValueError:
        # The error, which quotes what it is about, must not become part of ours.
        return None
    return parts


def _decoded(text: str | None) -> str:
    return unquote(text or "", errors="strict")


def _encryption_of(parts: SplitResult) -> Encryption:
    if parts.scheme == "smtps" and not parts.query:
        return Encryption.TLS
    if parts.scheme == "smtp" and not parts.query:
        return Encryption.STARTTLS
    if parts.scheme == "smtp" and parse_qsl(parts.query) == [("starttls", "no")]:
        return Encryption.NONE
    raise _unusable("the only option that it may end with is ?starttls=no, after smtp://")


def _unusable(why: str) -> ConfigError:
    return ConfigError(
        f"HOLDFAST_SMTP_URL cannot be used: {why}",
        hint="write it like smtp://user:password@host:587 or smtps://…, with @ : / ? # % in user and"
        " password percent-encoded",
    )
