"""`holdfast worker`: run jobs until told to stop."""

import sys
from typing import Annotated

import typer

from holdfast.cli.exits import ExitStatus
from holdfast.cli.session import Session, session_of


def worker(
    context: typer.Context,
    *,
    queues: Annotated[
        str | None, typer.Option(metavar="A,B", help="The queues to serve; all by default.")
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, metavar="N", help="Jobs at once; HOLDFAST_SLOTS by default."),
    ] = None,
) -> None:
    """Run jobs until SIGTERM or Ctrl-C, then let calls in flight end and hand the rest back.

    A second signal ends the process at once. Logs go to stderr.
    """
    from holdfast.wiring import run_async

    session = session_of(context)
    names = tuple(name.strip() for name in queues.split(",") if name.strip()) if queues else None
    if names == ():
        raise typer.BadParameter(f"{queues!r} names no queue", param_hint="'--queues'")
    run_async(_work(session, names, slots))
    raise typer.Exit(ExitStatus.OK)


async def _work(session: Session, queues: tuple[str, ...] | None, slots: int | None) -> None:
    import logging

    from holdfast.cli.interruption import Interruption

    logger = logging.getLogger("holdfast.cli")
    app = session.application()
    # A worker that says nothing at all looks dead: its start and end are told by default.
    session.start_logging(level_default="info")
    grace = app.settings.drain_grace_seconds

    def on_first() -> None:
        logger.info("draining", extra={"grace_seconds": grace})

    def on_second() -> None:
        logger.warning("stopping at once, leases run out by themselves")

    with Interruption(on_first, on_second).watching() as interruption:
        async with app.worker(queues=queues, slots=slots):
            logger.info(
                "ready",
                extra={
                    "store": app.settings.store_url,
                    "kinds": ",".join(app.registry.names),
                    "queues": ",".join(queues) if queues else "all",
                },
            )
            sys.stderr.flush()
            await interruption.requested.wait()
