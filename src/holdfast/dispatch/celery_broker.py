"""Looks at the broker before a worker starts, to say clearly what is wrong with it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqp.exceptions import AccessRefused, NotAllowed, PreconditionFailed, ResourceLocked

from holdfast.errors import ConfigError, DispatchError

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection, Queue

logger = logging.getLogger(__name__)

_PATIENCE = {"read_timeout": 10, "write_timeout": 10}
"""For a broker that hangs: the worker is to start."""


def check_broker(app: Celery) -> None:
    """Connect once.

    Raises:
        ConfigError: The broker refuses the login or the virtual host, or is a Redis Cluster.
        DispatchError: It cannot be reached.
    """
    with app.connection_for_read() as connection:
        shown = f"{connection.transport_cls}://{connection.hostname}:{connection.port or ''}".rstrip(":")
        try:
            connect_once(connection)
        except Exception as error:  # noqa: BLE001 - each transport raises its own
            raise _told(shown, connection, error) from None
        if connection.transport.driver_type == "redis":
            _refuse_cluster(shown, connection)


def check_queues(app: Celery) -> None:
    """Declare the queues that a worker is about to consume, as its consumer will.

    Celery would take a refusal for a lost connection and try again for ever. A broker that is away is
    left to it.

    Raises:
        ConfigError: A queue exists with other properties, or this user may not have it.
    """
    with app.connection_for_read(transport_options=_PATIENCE) as connection:
        if connection.transport.driver_type != "amqp":
            return
        try:
            connect_once(connection)
            for name, queue in app.amqp.queues.consume_from.items():
                _declare(name, queue(connection.default_channel))
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - each transport raises its own
            logger.warning("queues not checked", extra={"error": type(error).__name__})


def _declare(name: str, queue: Queue) -> None:
    try:
        queue.declare()
    except PreconditionFailed as error:
        raise ConfigError(
            f"queue {name!r} exists in the broker with other properties ({error.reply_text})",
            hint="delete it – no job is lost, the store has them all – or set HOLDFAST_QUEUE_PREFIX",
        ) from None
    except (AccessRefused, ResourceLocked) as error:
        raise ConfigError(
            f"queue {name!r} may not be used ({error.reply_text})",
            hint="give the user of HOLDFAST_BROKER permission, or set HOLDFAST_QUEUE_PREFIX",
        ) from None


def connect_once(connection: Connection) -> None:
    """Connect without the pauses between the tries that kombu makes by default.

    Raises:
        Exception: Whatever the transport raises.
    """
    connection.ensure_connection(
        max_retries=1, interval_start=0, interval_step=0, reraise_as_library_errors=False
    )


def _told(shown: str, connection: Connection, error: Exception) -> Exception:
    causes = [error, error.__cause__, error.__context__]
    names = {type(cause).__name__ for cause in causes if cause is not None}
    if names & {"AuthenticationError", "AuthenticationWrongNumberOfArgsError"} or any(
        isinstance(cause, AccessRefused) or "NOAUTH" in str(cause) for cause in causes
    ):
        return ConfigError(
            f"broker {shown} refuses the login", hint="check user and password in HOLDFAST_BROKER"
        )
    if any(isinstance(cause, NotAllowed) for cause in causes):
        return ConfigError(
            f"broker {shown} does not let this user into virtual host {connection.virtual_host!r}",
            hint="create it and its permissions, or name another after the last / of HOLDFAST_BROKER",
        )
    return DispatchError(
        f"broker {shown} cannot be reached ({type(error).__name__})",
        hint="check host and port in HOLDFAST_BROKER, and that the broker is up",
    )


def _refuse_cluster(shown: str, connection: Connection) -> None:
    found = connection.default_channel.client.info("cluster")
    if found.get("cluster_enabled"):
        raise ConfigError(
            f"broker {shown} is a Redis Cluster, which Celery's queues do not work on",
            hint="use a single Redis (with a replica, if you like) or RabbitMQ as HOLDFAST_BROKER",
        )
