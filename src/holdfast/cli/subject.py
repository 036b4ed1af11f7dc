"""`holdfast subject export|erase`: give or delete all that is on record of one person."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.jobs_look import AsJson
from holdfast.cli.session import Session, session_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.engine.retention import Removal
    from holdfast.model import Job

Key = Annotated[
    str, typer.Argument(metavar="KEY", help="The subject, as given when its jobs were submitted.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Wait = Annotated[
    float,
    typer.Option(
        min=0,
        max=86_400,
        metavar="SECONDS",
        help="How long to wait for jobs to end and files to settle; 600 by default.",
    ),
]


def export_subject(
    context: typer.Context,
    key: Key,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The ZIP archive to write.")],
    files: Annotated[
        bool, typer.Option("--files", help="With the files that the jobs have saved.")
    ] = False,
) -> None:
    """Write everything on record of a subject's jobs to a ZIP archive."""
    from holdfast.wiring import run_async

    run_async(_export(session_of(context), key, out, files=files))


async def _export(session: Session, key: str, out: Path, *, files: bool) -> None:
    from holdfast.cli import console
    from holdfast.cli.export import write_export
    from holdfast.cli.files import check_target
    from holdfast.cli.wording import counted, printable

    check_target(out)
    async with session.store_client() as client:
        jobs = await write_export(client, key, out, files=files)
    told = f"{printable(str(out))} · {counted(jobs, 'job')}"
    console.stderr().print(told)


def erase_subject(
    context: typer.Context,
    key: Key,
    *,
    yes: Yes = False,
    wait: Wait = 600.0,
    as_json: AsJson = False,
) -> None:
    """Cancel a subject's jobs and delete everything on record of them, with their files."""
    from holdfast.wiring import run_async

    session = session_of(context)
    found, unfinished = run_async(_count(session, key))
    if found and not yes:
        from holdfast.cli.wording import counted

        confirm_erasure(counted(found, "job"), unfinished)
    removal, left = run_async(_erase(session, key, timedelta(seconds=wait)))
    _tell(key, removal, left, as_json=as_json)
    if left or removal.files_left:
        from holdfast.cli.exits import ExitStatus

        raise typer.Exit(ExitStatus.CONFLICT)


async def _count(session: Session, key: str) -> tuple[int, int]:
    from holdfast.engine.subjects import jobs_of

    found = unfinished = 0
    async with session.store_client() as client:
        async for job in jobs_of(client, key):
            found += 1
            unfinished += not job.status.terminal
    return found, unfinished


async def _erase(session: Session, key: str, wait: timedelta) -> "tuple[Removal, list[Job]]":
    from holdfast.engine.subjects import erase, jobs_of

    async with session.store_client() as client:
        removal = await erase(client, key, wait=wait)
        return removal, [job async for job in jobs_of(client, key)]


def _tell(key: str, removal: "Removal", left: "list[Job]", *, as_json: bool) -> None:
    from holdfast.cli import console
    from holdfast.cli.prune import tell_files_left
    from holdfast.cli.wording import counted

    if as_json:
        console.print_json(
            {
                "subject": key,
                "jobs": removal.job_ids,
                "files": removal.files,
                "jobs_left": jobs_left_shape(left),
                "files_left": sorted(removal.files_left),
            }
        )
        return
    sys.stdout.writelines(f"{job_id}\n" for job_id in removal.job_ids)
    sys.stdout.flush()
    console.stderr().print(
        f"{counted(len(removal.job_ids), 'job')} and {counted(removal.files, 'file')} erased"
    )
    tell_jobs_left(left)
    tell_files_left(removal)


def jobs_left_shape(jobs: "Sequence[Job]") -> list[dict[str, object]]:
    """Return jobs that could not be erased yet, as JSON."""
    return [{"job_id": job.job_id, "status": job.status, "parent_id": job.parent_id} for job in jobs]


def tell_jobs_left(jobs: "Sequence[Job]") -> None:
    """Say why jobs could not be erased yet."""
    from holdfast.cli import console

    for job in jobs:
        console.stderr().print(f"{job.job_id} is left: {_reason(job)}", style="bad")


def _reason(job: "Job") -> str:
    if not job.status.terminal:
        return f"it is {job.status} still; a worker has to end it – then run this again"
    return "its parent or a child of it has not ended; end that one, then run this again"


def confirm_erasure(what: str, unfinished: int) -> None:
    """Ask whether to erase; left by an exception if the answer is no."""
    running = f" ({unfinished:,} unfinished)" if unfinished else ""
    typer.confirm(f"Erase {what}{running} with everything on record?", abort=True, err=True)
