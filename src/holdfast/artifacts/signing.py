"""Presigned links by AWS Signature Version 4 in the query.

obstore signs links too, but cannot put the file's name and type under the signature.
Source: AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

_ALGORITHM = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A key and the region it signs for."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    region: str

    def presign(self, url: str, query: Mapping[str, str], *, now: datetime, expires: timedelta) -> str:
        """Return `url`, which has no query yet, with `query` and a signature for GET.

        Args:
            url: Scheme, host and the path as it is, not percent-encoded: `?` and `#` belong to it.
            query: Parameters that the link shall have, such as `response-content-type`.
            now: From when on it is good.
            expires: For how long; whole seconds.
        """
        scheme, host, path = _split(url)
        stamp = f"{now:%Y%m%dT%H%M%SZ}"
        scope = f"{now:%Y%m%d}/{self.region}/s3/aws4_request"
        everything = {
            **query,
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self.access_key_id}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(int(expires.total_seconds())),
            "X-Amz-SignedHeaders": "host",
        }
        if self.session_token:
            everything["X-Amz-Security-Token"] = self.session_token
        encoded = "&".join(sorted(f"{_encoded(k)}={_encoded(v)}" for k, v in everything.items()))
        request = f"GET\n{path}\n{encoded}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        hashed = hashlib.sha256(request.encode()).hexdigest()
        signature = self._sign(scope, f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashed}")
        return f"{scheme}://{host}{path}?{encoded}&X-Amz-Signature={signature}"

    def _sign(self, scope: str, text: str) -> str:
        key = f"AWS4{self.secret_access_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()


def attachment(filename: str) -> str:
    """Return the `Content-Disposition` that has a browser save a file as `filename` (RFC 6266)."""
    return disposition("attachment", filename)


def disposition(kind: Literal["inline", "attachment"], filename: str) -> str:
    """Return a `Content-Disposition` with a file's name, whatever characters that has (RFC 6266, 8187).

    Nothing in it can end the header, name a folder, or change how the rest of the name reads.
    """
    name = "".join(c if c.isprintable() and c not in '/\\"' else "_" for c in filename) or "artifact"
    plain = name.encode("ascii", "replace").decode().replace("?", "_").replace("%", "_")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{_encoded(name)}"


def _split(url: str) -> tuple[str, str, str]:
    """Return scheme, host as a client writes it into `Host`, and percent-encoded path."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    scheme = scheme.lower()
    # Clients write the name small and leave out the port that goes without saying.
    host = host.lower().removesuffix(_DEFAULT_PORTS[scheme])
    return scheme, host, quote(slash + path, safe="/-_.~")


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")
