"""`holdfast jobs submit|cancel|retry|fork|signal|budget`: commands that change a job."""

import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.amounts import limit_of
from holdfast.cli.jobs_look import AsJson, JobId
from holdfast.cli.session import Session, session_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.jobs import Jobs
    from holdfast.model import Job

JsonArgument = Annotated[
    str | None,
    typer.Argument(metavar="[JSON|@FILE|-]", help="JSON text, @ and a file of it, or - for stdin."),
]


def submit_job(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="A registered kind of job.")],
    value: JsonArgument = None,
    *,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The same key with the same input gives the same job."),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(metavar="N", help="Higher goes first; the kind's own by default.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Whose job it is.")] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Whose personal data it holds; an id, never a name or address."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Accept a job durably; a worker runs it."""
    from holdfast.wiring import run_async

    parsed = read_json(value)

    async def submit(client: "Jobs") -> "Job":
        return await client.submit(
            kind,
            parsed,
            idempotency_key=idempotency_key,
            priority=priority,
            tenant=tenant,
            subject=subject,
        )

    run_async(_with_kinds(session_of(context), submit, as_json=as_json))


def cancel_job(context: typer.Context, job_id: JobId, *, as_json: AsJson = False) -> None:
    """Ask for a job's end; its worker acts within a second."""
    from holdfast.wiring import run_async

    async def cancel(client: "Jobs", job: "Job") -> "Job":
        return await client.cancel(job.job_id)

    run_async(_change(session_of(context), job_id, cancel, as_json=as_json))


def retry_job(context: typer.Context, job_id: JobId, *, as_json: AsJson = False) -> None:
    """Queue a failed or cancelled job again; finished steps stay."""
    from holdfast.wiring import run_async

    async def retry(client: "Jobs", job: "Job") -> "Job":
        return await client.retry(job.job_id)

    run_async(_change(session_of(context), job_id, retry, as_json=as_json))


def fork_job(
    context: typer.Context,
    job_id: JobId,
    *,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY", help="Keep this step only; may be given many times. All by default."
        ),
    ] = None,
    value: Annotated[
        str | None, typer.Option("--input", metavar="JSON|@FILE|-", help="Another input.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Queue a copy of a job that keeps its finished steps."""
    from holdfast.cli.lookup import find_job
    from holdfast.wiring import run_async

    parsed = read_json(value)

    async def fork(client: "Jobs") -> "Job":
        source = await find_job(client, job_id)
        return await client.fork(source.job_id, keep=keep or None, value=parsed)

    run_async(_with_kinds(session_of(context), fork, as_json=as_json))


def signal_job(
    context: typer.Context,
    job_id: JobId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal's name.")],
    value: JsonArgument = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Send a job a signal, with a payload if it wants one."""
    from holdfast.wiring import run_async

    payload = read_json(value)

    async def signal(client: "Jobs", job: "Job") -> "Job":
        await client.signal(job.job_id, name, payload)
        return await client.get(job.job_id)

    run_async(_change(session_of(context), job_id, signal, as_json=as_json))


def set_budget(
    context: typer.Context,
    job_id: JobId,
    *,
    usd: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="US dollars, or 'none' for no limit.")
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(metavar="N", help="Input and output tokens, or 'none' for no limit.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set what a job may spend in total; a job that waits for budget goes on."""
    import dataclasses

    from holdfast.wiring import run_async

    if usd is None and tokens is None:
        raise typer.BadParameter("give --usd, --tokens or both", param_hint="'--usd' / '--tokens'")
    changes: dict[str, Any] = {}
    if usd is not None:
        changes["usd"] = limit_of(usd, Decimal, "--usd")
    if tokens is not None:
        changes["tokens"] = limit_of(tokens, int, "--tokens")

    async def budget(client: "Jobs", job: "Job") -> "Job":
        return await client.set_budget(job.job_id, dataclasses.replace(job.budget, **changes))

    run_async(_change(session_of(context), job_id, budget, as_json=as_json))


def read_json(given: str | None) -> Any:
    """Return the value of JSON text, of `@file`, or of `-` for stdin; None when not given."""
    import msgspec

    if given is None:
        return None
    try:
        if given == "-":
            text = sys.stdin.buffer.read()
        elif given.startswith("@"):
            text = Path(given[1:]).read_bytes()
        else:
            text = given.encode()
    except OSError as error:
        raise typer.BadParameter(f"file {given[1:]!r} cannot be read: {error.strerror}") from None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise typer.BadParameter(
            f"not JSON: {error}; a text needs double quotes inside the shell's"
        ) from None


async def _change(
    session: Session,
    job_id: str,
    action: "Callable[[Jobs, Job], Awaitable[Job]]",
    *,
    as_json: bool,
) -> None:
    from holdfast.cli.lookup import find_job

    async with session.jobs() as client:
        job = await action(client, await find_job(client, job_id))
    _tell(job, as_json=as_json)


async def _with_kinds(
    session: Session, action: "Callable[[Jobs], Awaitable[Job]]", *, as_json: bool
) -> None:
    async with session.jobs(with_kinds=True) as client:
        job = await action(client)
    _tell(job, as_json=as_json)


def _tell(job: "Job", *, as_json: bool) -> None:
    """Print the job's id for scripts and, beside it, its status for people."""
    from holdfast.cli import console
    from holdfast.cli.job_table import status_text
    from holdfast.cli.shapes import job_shape

    if as_json:
        console.print_json(job_shape(job))
        return
    sys.stdout.write(f"{job.job_id}\n")
    sys.stdout.flush()
    console.stderr().print(status_text(job))
