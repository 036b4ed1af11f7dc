"""`holdfast serve`: the HTTP service, with a worker beside it where there is no broker."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.exits import ExitStatus
from holdfast.cli.session import session_of

if TYPE_CHECKING:
    from holdfast.wiring import App


def serve(
    context: typer.Context,
    *,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Listen there; HOLDFAST_HOST or 127.0.0.1 by default."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="0 for any free one; HOLDFAST_PORT or 8000 by default.",
        ),
    ] = None,
    with_worker: Annotated[
        bool | None,
        typer.Option(
            "--worker/--no-worker",
            help="Run jobs in this process, too; by default where no broker is set.",
        ),
    ] = None,
) -> None:
    """Serve API, live streams and console until SIGTERM or Ctrl-C.

    On loopback everybody on this machine is an operator; on any other address every request needs a
    key. Logs go to stderr.
    """
    from holdfast.settings import overridden
    from holdfast.wiring import run_async

    session = session_of(context)
    with overridden(host=host, port=port):
        app = session.application()
        session.start_logging(level_default="info")
        with session.tracing():
            run_async(_serve(app, with_worker=with_worker))
    raise typer.Exit(ExitStatus.OK)


async def _serve(app: "App", *, with_worker: bool | None) -> None:
    import logging

    from holdfast.cli.interruption import Interruption
    from holdfast.server.open_files import OTHERS_MAX, raise_open_files
    from holdfast.server.run import serve_api

    logger = logging.getLogger("holdfast.cli")
    settings = app.settings
    access = "everybody on this machine" if settings.open_access else "with a key"

    def on_ready(port: int) -> None:
        logger.info("serving", extra={"url": f"http://{settings.host}:{port}", "access": access})
        sys.stderr.flush()

    def on_first() -> None:
        logger.info("stopping", extra={"grace_seconds": settings.drain_grace_seconds})

    def on_second() -> None:
        logger.warning("stopping at once, leases run out by themselves")

    files, needed = raise_open_files(), settings.streams_max + OTHERS_MAX
    if files < needed:
        logger.warning(
            "fewer open files than streams", extra={"open_files_max": files, "needed": needed}
        )
    api = app.api(with_worker=with_worker, open_access=settings.open_access)
    with Interruption(on_first, on_second).watching() as interruption:
        await serve_api(
            api,
            host=settings.host,
            port=settings.port,
            stop=interruption.requested,
            on_ready=on_ready,
        )
