"""The fleet's unit: a Celery worker that runs jobs. `holdfast worker` starts it when a broker is set.

For `celery -A holdfast.worker worker`, `app` is the Celery application of the settings in force.
"""

from __future__ import annotations

import logging
import os
import warnings
from socket import gethostname
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.exceptions import SecurityWarning

from holdfast.dispatch.celery_broker import check_broker
from holdfast.dispatch.celery_pool import AsyncioPool
from holdfast.dispatch.celery_task import RUN_TASK
from holdfast.errors import ConfigError, DispatchError
from holdfast.settings import load_settings
from holdfast.telemetry import configure_logging
from holdfast.telemetry.export import start_tracing
from holdfast.wiring import load_app

if TYPE_CHECKING:
    from celery import Celery

    from holdfast.wiring import App

logger = logging.getLogger(__name__)

_QUIET_STEPS = {"without_gossip": True, "without_mingle": True}
"""Talk among workers grows with the square of their number, and all they would say is in the store."""


def run_fleet_worker(app: App, queues: tuple[str, ...] | None, concurrency: int | None) -> None:
    """Run a worker until it is told to stop.

    Args:
        app: The application whose jobs to run.
        queues: The queues of jobs to serve; None for all.
        concurrency: Jobs at once; the setting by default.

    Raises:
        ConfigError: The broker cannot be used.
        DispatchError: The consumer of its messages has ended by itself.
        HoldfastError: The worker could not be started.
    """
    celery = app.broker()
    if celery is None:
        raise ConfigError("there is no broker to work for", hint="set HOLDFAST_BROKER")
    _check_broker(celery)
    _warn_of_file(app)
    # It warns root of pickled messages, which are never accepted here.
    warnings.simplefilter("ignore", SecurityWarning)
    signals.setup_logging.connect(_keep_logging, weak=False)
    signals.worker_ready.connect(_tell_ready, weak=False)
    worker = celery.Worker(
        pool_cls=AsyncioPool,
        concurrency=concurrency or app.settings.concurrency,
        queues=_select_queues(app, celery, queues),
        hostname=f"holdfast-{os.getpid()}@{gethostname()}",
        loglevel="WARNING",
        quiet=True,
        **_QUIET_STEPS,
    )
    worker.start()
    if worker.pool.failure is not None:
        raise worker.pool.failure
    if worker.exitcode and not worker.pool.signalled:
        raise DispatchError(
            f"the consumer of the broker's messages has ended by itself (status {worker.exitcode})",
            hint="the log says why; start the worker again",
        )


def _check_broker(celery: Celery) -> None:
    """Look at the broker; one that is away is waited for while jobs come from the store.

    Raises:
        ConfigError: It cannot be used.
    """
    try:
        check_broker(celery)
    except DispatchError as error:
        logger.warning("%s; jobs are taken from the store until it is there", error)


def _select_queues(app: App, celery: Celery, queues: tuple[str, ...] | None) -> list[str] | None:
    """Return what Celery is to consume; None after having made the queues of all kinds its default."""
    name = celery.tasks[RUN_TASK].queue_name
    if queues is not None:
        return [name(queue) for queue in queues]
    wanted = {name(queue) for queue in app.registry.queues}
    known = celery.amqp.queues
    for each in sorted(wanted):
        known.select_add(known[each])
    known.deselect([each for each in known.consume_from if each not in wanted])
    return None


def _warn_of_file(app: App) -> None:
    if app.settings.store_url.startswith("sqlite:"):
        logger.warning(
            "the store is a file: only workers on this machine can share it; set HOLDFAST_STORE to a"
            " postgresql:// URL for more"
        )


def _keep_logging(**_: Any) -> None:
    """Have Celery log as Holdfast does; it sets up its own way when nobody answers this signal."""
    for name in ("celery", "kombu"):
        theirs = logging.getLogger(name)
        theirs.handlers = logging.getLogger("holdfast").handlers
        theirs.setLevel(logging.WARNING)
        theirs.propagate = False


def _tell_ready(sender: Any = None, **_: Any) -> None:
    logger.info("ready", extra={"queues": ",".join(sender.app.amqp.queues.consume_from)})


def main_app() -> Celery:
    """Return the Celery application of the settings in force.

    Raises:
        ConfigError: No broker is set, or a setting cannot be used.
    """
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    start_tracing(settings)
    app = load_app(settings)
    celery = app.broker()
    if celery is None:
        raise ConfigError("there is no broker to work for", hint="set HOLDFAST_BROKER")
    celery.conf.worker_concurrency = settings.concurrency
    return celery


def __getattr__(name: str) -> Any:
    """Make `app` when Celery's own command asks for it, not when `holdfast worker` imports this."""
    if name == "app":
        return globals().setdefault("app", main_app())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
