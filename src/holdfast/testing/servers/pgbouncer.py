"""A real PgBouncer in front of a real PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from holdfast.testing.servers.base import HOST, Server
from holdfast.testing.servers.programs import program

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.testing.servers.postgres import Postgres

_CONFIGURATION = """\
[databases]
* = host={host} port={backend} user=postgres

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
admin_users = postgres
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 1000
server_login_retry = 1
"""


class PgBouncer(Server):
    """PgBouncer that gives a client a connection to PostgreSQL for one transaction at a time.

    So nothing that belongs to a session survives a transaction: no prepared statements, no `SET`, no
    session-wide advisory locks, no `LISTEN`.

    Args:
        postgres: Whose databases it serves, under the same names; both are started and stopped apart.
        folder: See `Server`.
        pool_size: Connections to PostgreSQL for each database.
    """

    name = "pgbouncer"
    account = "postgres"

    def __init__(self, postgres: Postgres, folder: Path | None = None, *, pool_size: int = 20) -> None:
        super().__init__(folder)
        self.postgres = postgres
        self.pool_size = pool_size

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return the URL of one of PostgreSQL's databases by way of the pool."""
        return f"postgresql://postgres@{HOST}:{self.port}/{database}"

    def prepare(self) -> None:
        ports = {"backend": self.postgres.port, "port": self.port}
        self._write("pgbouncer.ini", _CONFIGURATION.format(host=HOST, pool_size=self.pool_size, **ports))

    def command(self) -> list[str]:
        return [program("pgbouncer"), str(self.folder / "pgbouncer.ini")]

    def ping(self) -> None:
        # Its own console: it answers whether PostgreSQL is up or not.
        psycopg.connect(self.url_of("pgbouncer"), autocommit=True, connect_timeout=2).close()
