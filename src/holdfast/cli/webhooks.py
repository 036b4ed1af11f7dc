"""`holdfast webhooks`: where the ends of jobs are told, and what became of the telling."""

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.exits import ExitStatus
from holdfast.cli.jobs_look import AsJson
from holdfast.cli.session import session_of
from holdfast.errors import WebhookNotFoundError
from holdfast.model import JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model import Job
    from holdfast.store.service import ServiceStore, Webhook

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK_ID", help="As 'webhooks list' shows it.")]

_PAGE = 1_000


def add_webhook(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to post.")],
    *,
    tenant: Annotated[
        str | None, typer.Option(metavar="TENANT", help="Whose jobs; those of all by default.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Only this kind of jobs; several times for several."),
    ] = None,
    status: Annotated[
        list[JobStatus] | None,
        typer.Option(
            metavar="STATUS",
            help="Only this end: completed, failed or cancelled; several times for several.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell a URL of the ends of jobs; prints its secret, which is shown only now."""
    from holdfast.cli import console
    from holdfast.clock import SystemClock
    from holdfast.webhooks import make_webhook
    from holdfast.wiring import run_async

    session = session_of(context)
    webhook, secrets = make_webhook(
        url,
        at=SystemClock().now(),
        tenant=tenant,
        kinds=kind or None,
        statuses=status or None,
        networks=session.settings.webhook_network_list,
    )

    async def keep() -> None:
        async with session.records() as records:
            await records.insert_webhook(webhook, secrets)

    run_async(keep())
    if as_json:
        console.print_json({**_shown(webhook), "secret": secrets.secret})
        return
    console.stderr().print(f"{webhook.webhook_id} · its secret:", style="quiet")
    typer.echo(secrets.secret)


def list_webhooks(
    context: typer.Context,
    *,
    tenant: Annotated[
        str | None, typer.Option(metavar="TENANT", help="Only those of this tenant.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List webhooks; their secrets are not shown."""
    from holdfast.cli import console
    from holdfast.wiring import run_async

    async def look() -> "list[Webhook]":
        async with session_of(context).records() as records:
            return await _all_webhooks(records, tenant)

    found = run_async(look())
    if as_json:
        console.print_json([_shown(webhook) for webhook in found])
    elif found:
        _print_webhooks(found)
    else:
        console.stdout().print("No webhooks. 'holdfast webhooks add URL' makes one.", style="quiet")


def remove_webhook(context: typer.Context, webhook_id: WebhookId) -> None:
    """Tell a URL nothing more, not even what is being tried."""
    from holdfast.cli import console
    from holdfast.wiring import run_async

    async def remove() -> bool:
        async with session_of(context).records() as records:
            return await records.delete_webhook(webhook_id)

    if not run_async(remove()):
        raise WebhookNotFoundError(webhook_id=webhook_id)
    console.stdout().print(f"{webhook_id} is told nothing more.")
    raise typer.Exit(ExitStatus.OK)


def rotate_secret(context: typer.Context, webhook_id: WebhookId) -> None:
    """Make a new secret and print it; for a day the old one signs, too."""
    from holdfast.clock import SystemClock
    from holdfast.webhooks import rotated
    from holdfast.wiring import run_async

    async def rotate() -> str:
        async with session_of(context).records() as records:
            old = await records.find_webhook_secrets(webhook_id)
            if old is None:
                raise WebhookNotFoundError(webhook_id=webhook_id)
            new = rotated(old, SystemClock().now())
            await records.set_webhook_secrets(webhook_id, new)
            return new.secret

    typer.echo(run_async(rotate()))


def list_deliveries(
    context: typer.Context,
    webhook_id: WebhookId,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what a webhook was told and is being told, the latest jobs first."""
    from holdfast.cli import console
    from holdfast.wiring import run_async

    async def look() -> "list[Job]":
        async with session_of(context).records() as records:
            if await records.find_webhook(webhook_id) is None:
                # What it was told before it was deleted is shown all the same.
                console.stderr().print(f"{webhook_id} is told nothing any more.", style="quiet")
            return list(await records.list_deliveries(webhook_id, limit=limit))

    found = run_async(look())
    if as_json:
        console.print_json([_delivery_shape(delivery) for delivery in found])
    elif found:
        _print_deliveries(found)
    else:
        console.stdout().print("Nothing was told yet.", style="quiet")


def replay_delivery(
    context: typer.Context,
    delivery_id: Annotated[
        str, typer.Argument(metavar="DELIVERY_ID", help="As 'webhooks deliveries' shows it.")
    ],
) -> None:
    """Tell the same message again, under the same webhook-id; prints the delivery that does."""
    from holdfast.webhooks import replay
    from holdfast.wiring import run_async

    async def tell() -> str:
        async with session_of(context).store_client() as client:
            return (await replay(client, delivery_id)).job_id

    typer.echo(run_async(tell()))


async def _all_webhooks(records: "ServiceStore", tenant: str | None) -> "list[Webhook]":
    found: list[Webhook] = []
    while True:
        after = found[-1].webhook_id if found else ""
        page = await records.list_webhooks(tenant=tenant, after=after, limit=_PAGE)
        found += page
        if len(page) < _PAGE:
            return found


def _shown(webhook: "Webhook") -> dict[str, object]:
    return {
        "webhook_id": webhook.webhook_id,
        "url": webhook.url,
        "tenant": webhook.tenant,
        "kinds": webhook.kinds,
        "statuses": webhook.statuses,
        "created_at": webhook.created_at,
    }


def _delivery_shape(delivery: "Job") -> dict[str, object]:
    import msgspec

    from holdfast.webhooks import delivery_input_of

    told = delivery_input_of(delivery)
    end = {} if delivery.output is None else msgspec.json.decode(delivery.output)
    return {
        "delivery_id": delivery.job_id,
        "job_id": told.job_id,
        "event_seq": told.seq,
        "type": told.type,
        "status": delivery.status,
        "outcome": end.get("outcome"),
        "response_status": end.get("status"),
        "error": None if delivery.error is None else delivery.error.message,
        "created_at": delivery.created_at,
        "next_try_at": None if delivery.status.terminal else delivery.available_at,
        "finished_at": delivery.finished_at,
    }


def _print_webhooks(webhooks: "list[Webhook]") -> None:
    from holdfast.cli.wording import moment, printable

    _print_table(
        ("webhook", "url", "tenant", "kinds", "ends", "made"),
        [
            (
                webhook.webhook_id,
                printable(webhook.url),
                printable(webhook.tenant or "all"),
                printable(", ".join(webhook.kinds) if webhook.kinds else "all"),
                ", ".join(webhook.statuses),
                moment(webhook.created_at),
            )
            for webhook in webhooks
        ],
    )


def _print_deliveries(deliveries: "list[Job]") -> None:
    from holdfast.cli.wording import moment, printable
    from holdfast.webhooks import delivery_input_of

    rows = []
    for delivery in deliveries:
        told = delivery_input_of(delivery)
        shape = _delivery_shape(delivery)
        due = "" if delivery.status.terminal or delivery.available_at is None else "next try "
        rows.append(
            (
                delivery.job_id,
                told.job_id,
                told.type,
                str(shape["outcome"] or delivery.status),
                due + moment(delivery.finished_at or delivery.available_at or delivery.created_at),
                printable(delivery.error.message if delivery.error else ""),
            )
        )
    _print_table(("delivery", "job", "told", "went", "when", "error"), rows)


def _print_table(columns: tuple[str, ...], rows: "Sequence[tuple[str, ...]]") -> None:
    from rich.table import Table

    from holdfast.cli import console

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="quiet")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.stdout().print(table)
