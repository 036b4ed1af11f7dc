"""A real nginx."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from holdfast.testing.servers.base import HOST, Server
from holdfast.testing.servers.programs import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CONFIGURATION = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""


class Nginx(Server):
    """nginx with one site.

    Args:
        site: Gives what stands within `http { }`, for the port that it is to listen on at `HOST`.
        folder: See `Server`.
    """

    name = "nginx"
    account = "www-data"

    def __init__(self, site: Callable[[int], str], folder: Path | None = None) -> None:
        super().__init__(folder)
        self._site = site

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def prepare(self) -> None:
        site = self._site(self.port)
        self._write("nginx.conf", _CONFIGURATION.format(folder=self.folder, site=site))

    def command(self) -> list[str]:
        return [program("nginx"), "-p", str(self.folder), "-e", "stderr", "-c", "nginx.conf"]

    def ping(self) -> None:
        socket.create_connection((HOST, self.port), timeout=2).close()
