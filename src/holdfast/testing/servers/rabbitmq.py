"""A real RabbitMQ."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import amqp

from holdfast.testing.servers.base import HOST, Server, free_port
from holdfast.testing.servers.programs import program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_USER = (
    "guest"  # RabbitMQ's own, with the same word as password, let in from the loopback interface only
)

# The limit is what blocks publishers on a full disk; its default would do so on small test machines.
_CONFIGURATION = """\
listeners.tcp.1 = {host}:{port}
disk_free_limit.absolute = 10MB
log.console = true
log.console.level = warning
log.file = false
"""


class RabbitMQ(Server):
    """RabbitMQ without plugins, as a node that knows of no other; takes some seconds to start.

    Durable queues keep persistent messages over a stop or kill.
    """

    name = "rabbitmq"
    account = "rabbitmq"
    start_seconds: ClassVar[float] = 60.0

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self._node_port = free_port()
        self._name_server_port = free_port()

    @property
    def url(self) -> str:
        return f"amqp://{_USER}:{_USER}@{HOST}:{self.port}//"

    def prepare(self) -> None:
        self._write("rabbitmq.conf", _CONFIGURATION.format(host=HOST, port=self.port))
        self._write("enabled_plugins", "[].\n")
        self._write("rabbitmq-env.conf", "")

    def command(self) -> list[str]:
        return [program("rabbitmq-server")]

    def environment(self) -> Mapping[str, str]:
        # Erlang's own name server (epmd) listens at a port of ours too, so that nodes do not meet.
        return {
            **super().environment(),
            "ERL_EPMD_PORT": str(self._name_server_port),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_NODENAME": "holdfast@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RUNNING_UNDER_SYSTEMD": "1",  # the script then becomes the server instead of minding it
        }

    def ping(self) -> None:
        with self._connect():
            pass

    def purge(self, queue: str) -> int:
        """Drop the messages that wait in the queue; returns how many there were.

        Raises:
            amqp.exceptions.NotFound: There is no such queue.
        """
        with self._connect() as connection:
            return int(connection.channel().queue_purge(queue))

    def _connect(self) -> amqp.Connection:
        return amqp.Connection(f"{HOST}:{self.port}", _USER, _USER, connect_timeout=2, read_timeout=10)
