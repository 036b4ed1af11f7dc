"""`holdfast orders export|erase`: give or delete all that is on record of one customer."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.exits import ExitStatus
from holdfast.cli.jobs_look import AsJson
from holdfast.cli.session import Session, session_of
from holdfast.cli.shop import open_shop
from holdfast.cli.subject import Wait, Yes, confirm_erasure

if TYPE_CHECKING:
    from holdfast.apps.reports.orders.customers import Erasure, OnRecord

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The customer's address, however written.")]


def export_customer(
    context: typer.Context,
    email: Email,
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A folder that is new or empty.")],
) -> None:
    """Write all that is on record of a customer to a folder: orders, jobs, files."""
    from holdfast.cli import console
    from holdfast.cli.wording import counted, printable
    from holdfast.wiring import run_async

    session = session_of(context)

    async def write() -> tuple[int, int]:
        from holdfast.cli.order_export import write_customer

        async with open_shop(session) as shop:
            return await write_customer(shop, email, out)

    orders, jobs = run_async(write())
    told = f"{printable(str(out))} · {counted(orders, 'order')}, {counted(jobs, 'job')}"
    console.stderr().print(told)


def erase_customer(
    context: typer.Context,
    email: Email,
    *,
    yes: Yes = False,
    wait: Wait = 600.0,
    as_json: AsJson = False,
) -> None:
    """Delete all that is on record of a customer: orders, jobs, files."""
    from holdfast.wiring import run_async

    session = session_of(context)
    found = run_async(_count(session, email))
    if (found.orders or found.jobs) and not yes:
        from holdfast.cli.wording import counted

        what = f"{counted(found.orders, 'order')} and {counted(found.jobs, 'job')}"
        confirm_erasure(what, found.unfinished)
    erasure = run_async(_erase(session, email, timedelta(seconds=wait)))
    _tell(erasure, as_json=as_json)
    if not erasure.complete:
        raise typer.Exit(ExitStatus.CONFLICT)


async def _count(session: Session, email: str) -> "OnRecord":
    from holdfast.apps.reports.orders.customers import count_customer

    async with open_shop(session) as shop:
        return await count_customer(shop, email)


async def _erase(session: Session, email: str, wait: timedelta) -> "Erasure":
    from holdfast.apps.reports.orders.customers import erase_customer

    async with open_shop(session) as shop:
        return await erase_customer(shop, email, wait=wait)


def _tell(erasure: "Erasure", *, as_json: bool) -> None:
    from holdfast.cli import console
    from holdfast.cli.prune import tell_files_left
    from holdfast.cli.subject import jobs_left_shape, tell_jobs_left
    from holdfast.cli.wording import counted

    removal = erasure.removal
    if as_json:
        console.print_json(
            {
                "orders": list(erasure.order_ids),
                "jobs": removal.job_ids,
                "files": removal.files,
                "orders_left": [order.order_id for order in erasure.orders_left],
                "jobs_left": jobs_left_shape(erasure.jobs_left),
                "files_left": sorted(removal.files_left),
            }
        )
        return
    sys.stdout.writelines(f"{one}\n" for one in (*erasure.order_ids, *removal.job_ids))
    sys.stdout.flush()
    err = console.stderr()
    jobs = counted(len(removal.job_ids), "job")
    err.print(
        f"{counted(len(erasure.order_ids), 'order')}, {jobs} and {counted(removal.files, 'file')} erased"
    )
    for order in erasure.orders_left:
        err.print(f"{order.order_id} is left: its job has not ended; run this again", style="bad")
    tell_jobs_left(erasure.jobs_left)
    tell_files_left(removal)
    if erasure.order_ids:
        err.print("What Stripe and the mail server keep of the customer is erased there.", style="quiet")
