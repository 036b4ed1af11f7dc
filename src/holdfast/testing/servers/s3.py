"""An object store that speaks S3 over HTTP: moto's server, as a process of its own."""

from __future__ import annotations

import http.client
import sys
from typing import TYPE_CHECKING, ClassVar

from holdfast.testing.servers.base import HOST, Server

if TYPE_CHECKING:
    from pathlib import Path


class S3(Server):
    """moto's S3 with one bucket; all in memory, so a stop or kill leaves an empty bucket behind.

    Args:
        folder: See `Server`.
        bucket: Made at every start.
    """

    name = "s3"
    access_key: ClassVar[str] = "test"
    secret_key: ClassVar[str] = "test"  # noqa: S105 - moto takes any
    region: ClassVar[str] = "us-east-1"

    def __init__(self, folder: Path | None = None, *, bucket: str = "holdfast") -> None:
        super().__init__(folder)
        self.bucket = bucket

    @property
    def url(self) -> str:
        """Of the service; the bucket is the first part of the path."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port)]

    def ping(self) -> None:
        self.create_bucket(self.bucket)

    def create_bucket(self, name: str) -> None:
        """Create the bucket unless it is there."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request("PUT", f"/{name}")
            response = connection.getresponse()
            status, reply = response.status, response.read(500).decode(errors="replace")
        finally:
            connection.close()
        if status != http.HTTPStatus.OK:
            raise RuntimeError(f"s3 refused to create bucket {name!r} with status {status}: {reply}")
