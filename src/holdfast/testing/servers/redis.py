"""A real Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from holdfast.testing.servers.base import HOST, Server
from holdfast.testing.servers.programs import program

if TYPE_CHECKING:
    from pathlib import Path


class Redis(Server):
    """Redis without a password.

    Args:
        folder: See `Server`.
        aof: Write every change to its log at once, so that a kill loses nothing that it acknowledged.
            Without, all data is in memory only and a stop or kill empties it.
    """

    name = "redis"

    def __init__(self, folder: Path | None = None, *, aof: bool = False) -> None:
        super().__init__(folder)
        self.aof = aof

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def command(self) -> list[str]:
        log = ["--appendonly", "yes", "--appendfsync", "always"] if self.aof else ["--appendonly", "no"]
        place = ["--bind", HOST, "--port", str(self.port), "--dir", str(self.folder)]
        return [program("redis-server"), *place, *log, "--save", ""]

    def ping(self) -> None:
        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            client.ping()

    def flushall(self) -> None:
        """Forget all data."""
        with redis.Redis.from_url(self.url, socket_timeout=10) as client:
            client.flushall()
