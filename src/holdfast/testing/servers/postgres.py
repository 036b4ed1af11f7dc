"""A real PostgreSQL: its databases, and the ways in which it goes away."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, ClassVar, LiteralString

import psycopg
from psycopg import sql

from holdfast.testing.servers.base import HOST, Server
from holdfast.testing.servers.programs import program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_USER = "postgres"
_MAX_CONNECTIONS = 300


class Postgres(Server):
    """PostgreSQL with one superuser, `postgres`, whom it trusts on the loopback interface.

    Args:
        folder: See `Server`.
        fsync: False makes it faster and lets a crash *of the machine* lose data; a killed server loses
            nothing either way. Leave it on where times are measured.
        settings: More settings of the server by name, such as `{"log_min_duration_statement": "100"}`.
    """

    name = "postgres"
    account = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": does not wait for clients to leave

    def __init__(
        self,
        folder: Path | None = None,
        *,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder)
        durable = "on" if fsync else "off"
        self.settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": str(_MAX_CONNECTIONS),
            "fsync": durable,
            "full_page_writes": durable,
            **(settings or {}),
        }

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return the URL of one of its databases, as libpq and psycopg take it."""
        return f"postgresql://{_USER}@{HOST}:{self.port}/{database}"

    def prepare(self) -> None:
        data = self.folder / "data"
        if not (data / "PG_VERSION").exists():
            self._run(
                program("initdb"),
                f"--pgdata={data}",
                f"--username={_USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            )

    def command(self) -> list[str]:
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        return [program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options]

    def ping(self) -> None:
        self._execute("SELECT 1")

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, as a copy of `template` when given, and return its URL.

        Nobody may be connected to the template meanwhile.
        """
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template or "template1")
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Drop the database if it exists, with whoever is connected to it."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def cut_all_connections(self) -> int:
        """End the connections of all clients, as a failover does; returns how many there were."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cut = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            row = cut.fetchone()
        return int(row[0]) if row else 0

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=2) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
