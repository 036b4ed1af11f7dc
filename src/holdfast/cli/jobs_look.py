"""`holdfast jobs list|show|watch|output|artifact`: looking changes nothing."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.session import Session, session_of
from holdfast.model import JobStatus

JobId = Annotated[
    str, typer.Argument(metavar="ID", help="The job's id; its first or last characters will do.")
]
CHILDREN_SHOWN_MAX = 100
"""Children that `jobs show` lists; `jobs list --parent` has the others."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def list_jobs(
    context: typer.Context,
    *,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Only jobs of this kind.")] = None,
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs in this status.")] = None,
    parent: Annotated[str | None, typer.Option(metavar="ID", help="Only children of this job.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from holdfast.wiring import run_async

    run_async(_list_jobs(session_of(context), kind, status, limit, parent=parent, as_json=as_json))


async def _list_jobs(
    session: Session,
    kind: str | None,
    status: JobStatus | None,
    limit: int,
    *,
    parent: str | None,
    as_json: bool,
) -> None:
    from holdfast.cli import console, job_table
    from holdfast.cli.lookup import find_job
    from holdfast.cli.shapes import job_shape
    from holdfast.store.base import JobQuery

    async with session.jobs() as client:
        above = None if parent is None else (await find_job(client, parent)).job_id
        # One more than asked for, to know whether there are more.
        query = JobQuery(kind=kind, status=status, parent_id=above, limit=min(limit + 1, 1000))
        found = list(await client.list(query))
    more, found = len(found) > limit, found[:limit]
    if as_json:
        console.print_json([job_shape(job) for job in found])
        return
    if not found:
        console.stderr().print(f"No such jobs in {session.place}.")
        return
    out = console.stdout()
    out.print(job_table.table_of(found, width=out.width))
    if more:
        console.stderr().print(f"More than {limit}: see --limit.", style="quiet")


def show_job(
    context: typer.Context,
    job_id: JobId,
    *,
    calls: Annotated[bool, typer.Option("--calls", help="List every model call.")] = False,
    steps: Annotated[bool, typer.Option("--steps", help="List every step.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show all that is on record of a job: status, steps, attempts, money, files, children."""
    from holdfast.wiring import run_async

    run_async(_show_job(session_of(context), job_id, calls=calls, steps=steps, as_json=as_json))


async def _show_job(session: Session, job_id: str, *, calls: bool, steps: bool, as_json: bool) -> None:
    from holdfast.cli import console, job_page
    from holdfast.cli.lookup import find_job
    from holdfast.cli.shapes import records_shape
    from holdfast.jobs import past_events
    from holdfast.store.base import JobQuery

    async with session.jobs() as client:
        job = await find_job(client, job_id)
        records = await client.records(job.job_id)
        attempts = await past_events(client, job, job_page.ATTEMPT_EVENTS)
        children = await client.list(JobQuery(parent_id=job.job_id, limit=CHILDREN_SHOWN_MAX))
        if children:
            job = await client.get(job.job_id, with_children=True)
    if as_json:
        console.print_json(records_shape(job, records, attempts, children, calls=calls))
        return
    page = job_page.JobPage(job, records, attempts, children)
    job_page.print_page(page, console.stdout(), calls=calls, steps=steps)


def watch_job(
    context: typer.Context,
    job_id: JobId,
    *,
    after: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Begin after this event.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Follow a job's events until it has ended; Ctrl-C leaves the job alone."""
    from holdfast.cli.watch import watch
    from holdfast.wiring import run_async

    status = run_async(watch(session_of(context), job_id, after=after, as_json=as_json))
    raise typer.Exit(status)


def print_output(context: typer.Context, job_id: JobId) -> None:
    """Print the output of a completed job as JSON."""
    from holdfast.wiring import run_async

    run_async(_print_output(session_of(context), job_id))


async def _print_output(session: Session, job_id: str) -> None:
    import msgspec

    from holdfast.cli import console
    from holdfast.cli.lookup import find_job

    async with session.jobs() as client:
        job = await find_job(client, job_id)
        client.output_of(job)
    console.print_json(msgspec.json.decode(job.output or b"null"))


def save_artifact(
    context: typer.Context,
    job_id: JobId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The file's name in the job.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write it, - for stdout; NAME by default."),
    ] = None,
) -> None:
    """Write a file that a job has made."""
    from holdfast.wiring import run_async

    run_async(_save_artifact(session_of(context), job_id, name, out))


async def _save_artifact(session: Session, job_id: str, name: str, out: Path | None) -> None:
    from holdfast.cli import console
    from holdfast.cli.files import check_target, save
    from holdfast.cli.lookup import find_job
    from holdfast.cli.wording import printable, size
    from holdfast.errors import InvalidInputError

    # The name was made by a job: only its last part may choose a file here.
    target = out or Path(Path(name).name)
    async with session.jobs() as client:
        job = await find_job(client, job_id)
        saved = await client.artifacts(job.job_id)
        artifact = next((each for each in saved if each.name == name), None)
        if artifact is None:
            known = ", ".join(repr(each.name) for each in saved) or "none"
            raise InvalidInputError(f"job {job.job_id!r} has no file {name!r}; it has: {known}")
        if str(target) == "-":
            async for chunk in client.stream_artifact(artifact):
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return
        check_target(target)
        await save(client, artifact, target)
    console.stderr().print(f"{printable(str(target))} · {size(artifact.size_bytes)}")
