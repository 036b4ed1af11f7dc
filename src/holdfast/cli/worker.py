"""`holdfast worker`: run jobs until told to stop."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.exits import ExitStatus
from holdfast.cli.session import session_of

if TYPE_CHECKING:
    from holdfast.wiring import App


def worker(
    context: typer.Context,
    *,
    queues: Annotated[
        str | None, typer.Option(metavar="A,B", help="The queues to serve; all by default.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, metavar="N", help="Jobs at once; HOLDFAST_CONCURRENCY by default."
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help="Serve /metrics and /health/live there; HOLDFAST_METRICS_PORT by default.",
        ),
    ] = None,
) -> None:
    """Run jobs until SIGTERM or Ctrl-C, then let calls in flight end and hand the rest back.

    With HOLDFAST_BROKER set it takes jobs as messages of Redis or RabbitMQ tell of them. A second
    signal ends the process at once. Logs go to stderr.
    """
    from holdfast.settings import overridden

    session = session_of(context)
    names = tuple(name.strip() for name in queues.split(",") if name.strip()) if queues else None
    if names == ():
        raise typer.BadParameter(f"{queues!r} names no queue", param_hint="'--queues'")
    with overridden(metrics_port=metrics_port):
        app = session.application()
        # A worker that says nothing at all looks dead: its start and end are told by default.
        session.start_logging(level_default="info")
        with session.tracing():
            _run(app, names, concurrency)
    raise typer.Exit(ExitStatus.OK)


def _run(app: "App", names: tuple[str, ...] | None, concurrency: int | None) -> None:
    from holdfast.wiring import run_async

    if app.broker() is None:
        run_async(_work(app, names, concurrency))
    else:
        from holdfast.worker import run_fleet_worker

        run_fleet_worker(app, names, concurrency)


async def _work(app: "App", queues: tuple[str, ...] | None, concurrency: int | None) -> None:
    import logging

    from holdfast.cli.interruption import Interruption

    logger = logging.getLogger("holdfast.cli")
    grace = app.settings.drain_grace_seconds

    def on_first() -> None:
        logger.info("draining", extra={"grace_seconds": grace})

    def on_second() -> None:
        logger.warning("stopping at once, leases run out by themselves")

    with Interruption(on_first, on_second).watching() as interruption:
        async with app.worker(queues=queues, concurrency=concurrency):
            logger.info(
                "ready",
                extra={
                    "store": app.settings.store_shown,
                    "kinds": ",".join(app.registry.names),
                    "queues": ",".join(queues) if queues else "all",
                },
            )
            sys.stderr.flush()
            await interruption.requested.wait()
