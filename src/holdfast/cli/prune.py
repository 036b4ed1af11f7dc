"""`holdfast prune`: delete jobs past their retention, and files that nothing refers to."""

import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.jobs_look import AsJson
from holdfast.cli.session import Session, session_of

if TYPE_CHECKING:
    from holdfast.engine.client import JobClient
    from holdfast.engine.retention import Removal
    from holdfast.store.base import PruneRequest

_AGE = re.compile(r"(\d{1,6}) ?(s|min|h|d)")
_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


def prune(
    context: typer.Context,
    *,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Only jobs of this kind.")] = None,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Only jobs that ended so long ago: 30d, 12h, 90min."),
    ] = None,
    files: Annotated[
        bool, typer.Option("--files", help="Delete all files, too, that no job refers to.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete finished jobs with everything on record of them, oldest end first."""
    from holdfast.store.base import PruneRequest
    from holdfast.wiring import run_async

    if kind is None and older_than is None and not files:
        raise typer.BadParameter(
            "say which jobs: --kind, --older-than or both", param_hint="'--kind' / '--older-than'"
        )
    age = None if older_than is None else read_age(older_than)
    request = PruneRequest(kind=kind, older_than=age, dry_run=dry_run)
    run_async(_prune(session_of(context), request, files=files, as_json=as_json))


def read_age(text: str) -> timedelta:
    """Return the duration that '30d', '12h', '90min' or '20s' mean."""
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no age; write 30d, 12h, 90min or 20s", param_hint="'--older-than'"
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


async def _prune(session: Session, request: "PruneRequest", *, files: bool, as_json: bool) -> None:
    from holdfast.engine.retention import Removal

    removal = Removal()
    async with session.store_client() as client:
        if request.kind is not None or request.older_than is not None:
            await _prune_jobs(client, request, removal)
        if files:
            collected = await client.retention.collect_files(dry_run=request.dry_run)
            removal.files += collected.files
            removal.files_left |= collected.files_left
    _tell(removal, dry_run=request.dry_run, as_json=as_json)


async def _prune_jobs(client: "JobClient", request: "PruneRequest", removal: "Removal") -> None:
    from dataclasses import replace

    if request.dry_run:
        found = await client.retention.prune(replace(request, limit=1_000))
        removal.job_ids, removal.more = found.job_ids, found.more
        return
    while True:
        found = await client.retention.prune(request)
        removal.job_ids += found.job_ids
        removal.files += found.files
        removal.files_left |= found.files_left
        if not found.more:
            return


def _tell(removal: "Removal", *, dry_run: bool, as_json: bool) -> None:
    from holdfast.cli import console
    from holdfast.cli.wording import counted

    told: dict[str, Any] = {
        "jobs": len(removal.job_ids),
        "more": removal.more,
        "files": removal.files,
        "files_left": len(removal.files_left),
        "dry_run": dry_run,
    }
    if as_json:
        console.print_json(told)
        return
    jobs = counted(len(removal.job_ids), "job") + (" or more" if removal.more else "")
    would = "would be deleted" if dry_run else "deleted"
    sys.stdout.write(f"{jobs} and {counted(removal.files, 'file')} {would}\n")
    tell_files_left(removal)


def tell_files_left(removal: "Removal") -> None:
    """Say what to do about files that could not be deleted yet."""
    from holdfast.cli import console
    from holdfast.cli.wording import counted

    if removal.files_left:
        console.stderr().print(
            f"{counted(len(removal.files_left), 'file')} that no job refers to any more could not be"
            " deleted yet; 'holdfast prune --files' does it in a few minutes.",
            style="waiting",
        )
