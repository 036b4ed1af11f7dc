"""Celery as the carrier of hints: our task on a Celery application, and the settings it needs.

A message holds a job's id and nothing else. It is acknowledged as soon as the claim is durable or
refused; from then on the lease guards the job, and no timeout of a broker matters. Delays, retries,
priorities, results and state live in the store, so none of Celery's are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from celery import Celery, Task, signals
from kombu import Queue

from holdfast.dispatch.celery_pool import AsyncioPool, ConsumerWatch
from holdfast.dispatch.celery_task import RUN_TASK, RunTask
from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.dispatch.base import ServeJobs

CeleryApp = Celery
"""For those who only pass one on."""

POOL = f"{AsyncioPool.__module__}:{AsyncioPool.__qualname__}"

_SCHEMES = {"redis": "redis", "rediss": "redis", "amqp": "amqp", "amqps": "amqp", "pyamqp": "amqp"}

REDIS_OPTIONS: dict[str, Any] = {
    # With the defaults a half-open connection is not noticed for minutes, nor is SIGTERM meanwhile.
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    # Redelivery is the store's business: lease and repair do it better than a visibility timeout.
    "ack_emulation": False,
}
AMQP_OPTIONS: dict[str, Any] = {"connect_timeout": 5}

WORKER_SETTINGS: dict[str, Any] = {
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # A channel that RabbitMQ closes (such as by its consumer timeout) must not end the worker.
    "broker_channel_error_retry": True,
    "worker_prefetch_multiplier": 1,
    # A reduced prefetch count after a reconnect would wait for messages that were acknowledged long ago.
    "worker_enable_prefetch_count_reduction": False,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
}


def broker_kind(url: str) -> str:
    """Return `redis` or `amqp`.

    Raises:
        ConfigError: It is neither, or names no host.
    """
    try:
        parts = urlsplit(url)
        scheme, host, _ = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        # What the error says may be a part of the password.
        raise ConfigError(
            "broker URL cannot be read: its host or port is malformed",
            hint=f"{_URL_HINT}; write / ? # @ : in a password as %2F %3F %23 %40 %3A",
        ) from None
    kind = _SCHEMES.get(scheme)
    if kind is None:
        raise ConfigError(f"broker scheme {scheme!r} is neither Redis nor RabbitMQ", hint=_URL_HINT)
    if not host:
        raise ConfigError(f"broker URL of scheme {scheme!r} names no host", hint=_URL_HINT)
    return kind


_URL_HINT = "set HOLDFAST_BROKER=redis://HOST:6379/0 or amqp://USER:PASSWORD@HOST:5672/VHOST"


def celery_app(url: str, *, queues: Iterable[str] = (), prefix: str = "") -> Celery:
    """Return a Celery application for hints only, configured for the broker at `url`.

    Args:
        url: `redis://`, `rediss://`, `amqp://` or `amqps://`.
        queues: The job queues that its workers serve unless told otherwise.
        prefix: Put before the names of queues in the broker.

    Raises:
        ConfigError: The URL is of another kind.
    """
    kind = broker_kind(url)
    app = Celery("holdfast", broker=url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        result_backend=None,
        task_queues=[_queue(prefix + name) for name in queues] or None,
        task_default_queue=f"{prefix}holdfast",
        broker_transport_options=REDIS_OPTIONS if kind == "redis" else AMQP_OPTIONS,
        worker_pool=POOL,
        # For Flower; without a listener they cost next to nothing.
        worker_send_task_events=True,
        **WORKER_SETTINGS,
    )
    return app


def install(app: Celery, *, serve: ServeJobs | None = None, prefix: str = "") -> Celery:
    """Add the task that runs jobs to a Celery application; its own tasks stay as they are.

    A worker of this application runs jobs only with our pool (`AsyncioPool`), which runs other tasks
    in a few threads; all other workers are left alone, with their own pool and settings.

    Args:
        app: The application.
        serve: Runs a worker; None where jobs are only announced.
        prefix: Put before the names of queues in the broker.
    """
    app.register_task(RunTask(serve=serve, prefix=prefix))
    app.steps["consumer"].add(ConsumerWatch)
    signals.celeryd_init.connect(_prepare_worker, weak=False)
    return app


def _prepare_worker(instance: Any = None, conf: Any = None, options: Any = None, **_: Any) -> None:
    """Give a worker that uses our pool the settings that this pool needs, before it reads them."""
    pool = (options or {}).get("pool_cls") or conf.worker_pool
    if RUN_TASK not in instance.app.tasks or pool not in (AsyncioPool, POOL):
        return
    conf.update(WORKER_SETTINGS)
    if broker_kind(instance.app.connection_for_read().as_uri(include_password=True)) == "redis":
        conf.broker_transport_options = {**REDIS_OPTIONS, **(conf.broker_transport_options or {})}


def run_task_of(app: Celery) -> RunTask | None:
    """Return the task that runs jobs, if it is installed."""
    found: Task | None = app.tasks.get(RUN_TASK)
    return found if isinstance(found, RunTask) else None


def _queue(name: str) -> Queue:
    # Named after its own routing key on the default exchange: a wiped Redis loses no binding.
    return Queue(name, routing_key=name)
