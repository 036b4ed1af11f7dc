"""`holdfast keys`: who may speak to the service."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.exits import ExitStatus
from holdfast.cli.session import session_of
from holdfast.errors import RequestError

if TYPE_CHECKING:
    from holdfast.store.service import ApiKey


def new_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What people call it, such as 'web shop'.")],
    *,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ACTION",
            help="submit, read, content, control, webhooks or admin; several times for several."
            " By default submit, read, content and control.",
        ),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="The only tenant whose jobs it reaches; all by default.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", help="The only kind of jobs it reaches; several times for several."
        ),
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0.01, help="How long it is good for; for good by default.")
    ] = None,
) -> None:
    """Make a key and print it; it is shown only now."""
    from holdfast.clock import SystemClock
    from holdfast.server.access import Action, make_key
    from holdfast.wiring import run_async

    names = allow or ["submit", "read", "content", "control"]
    known = {action.value for action in Action}
    unknown = sorted(set(names) - known)
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: there are {', '.join(sorted(known))}", param_hint="'--allow'"
        )
    key, kept = make_key(
        name=name,
        actions=map(Action, names),
        at=SystemClock().now(),
        tenant=tenant,
        kinds=kind or None,
        lifetime=None if days is None else timedelta(days=days),
    )

    async def keep() -> None:
        async with session_of(context).records() as records:
            await records.insert_key(kept)

    run_async(keep())
    typer.echo(key)


def list_keys(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the keys in force; the keys themselves are on record nowhere."""
    from holdfast.cli import console
    from holdfast.wiring import run_async

    async def look() -> "list[ApiKey]":
        async with session_of(context).records() as records:
            return list(await records.list_keys())

    found = run_async(look())
    if as_json:
        console.print_json([_shown(key) for key in found])
        return
    if not found:
        console.stdout().print("No keys. 'holdfast keys new NAME' makes one.", style="quiet")
        return
    _print_table(found)


def revoke_key(
    context: typer.Context, key_id: Annotated[str, typer.Argument(help="As 'keys list' shows it.")]
) -> None:
    """Refuse a key from now on."""
    from holdfast.cli import console
    from holdfast.clock import SystemClock
    from holdfast.wiring import run_async

    async def revoke() -> bool:
        async with session_of(context).records() as records:
            return await records.revoke_key(key_id, SystemClock().now())

    if not run_async(revoke()):
        raise RequestError(
            f"there is no key {key_id!r} in force", hint="'holdfast keys list' shows those there are"
        )
    console.stdout().print(f"{key_id} is refused from now on.")
    raise typer.Exit(ExitStatus.OK)


def _shown(key: "ApiKey") -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "tenant": key.tenant,
        "kinds": key.kinds,
        "actions": key.actions,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
    }


def _print_table(keys: "list[ApiKey]") -> None:
    from rich.table import Table

    from holdfast.cli import console
    from holdfast.cli.wording import moment, printable

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="quiet")
    for column in ("key", "name", "tenant", "kinds", "actions", "made", "expires"):
        table.add_column(column, overflow="fold")
    for key in keys:
        table.add_row(
            key.key_id,
            printable(key.name),
            printable(key.tenant or "all"),
            printable(", ".join(key.kinds) if key.kinds else "all"),
            ", ".join(key.actions),
            moment(key.created_at),
            moment(key.expires_at) if key.expires_at else "never",
        )
    console.stdout().print(table)
