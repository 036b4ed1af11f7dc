"""`holdfast budget`: what a tenant may spend in a day or in a month."""

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.amounts import limit_of
from holdfast.cli.session import session_of
from holdfast.model import Budget, BudgetPeriod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.store.service import TenantBudget

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def set_budget(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="As given when its jobs are submitted.")],
    *,
    per: Annotated[BudgetPeriod, typer.Option(help="By the calendar, in UTC.")],
    usd: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="US dollars, or 'none' for no limit.")
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(metavar="N", help="Input and output tokens, or 'none' for no limit.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set what all jobs of a tenant may spend together; those that wait for budget go on."""
    from holdfast.wiring import run_async

    if usd is None and tokens is None:
        raise typer.BadParameter("give --usd, --tokens or both", param_hint="'--usd' / '--tokens'")
    changes: dict[str, Any] = {}
    if usd is not None:
        changes["usd"] = limit_of(usd, Decimal, "--usd")
    if tokens is not None:
        changes["tokens"] = limit_of(tokens, int, "--tokens")

    async def change() -> "TenantBudget":
        async with session_of(context).records() as records:
            known = await records.list_tenant_budgets(tenant)
            present = next((each.budget for each in known if each.period is per), Budget())
            return await records.set_tenant_budget(tenant, per, dataclasses.replace(present, **changes))

    _print([run_async(change())], as_json=as_json)


def list_budgets(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Argument(help="The only one; all by default.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the tenants that have a budget, with what is spent of it in the present period."""
    from holdfast.cli import console
    from holdfast.wiring import run_async

    async def look() -> "Sequence[TenantBudget]":
        async with session_of(context).records() as records:
            return await records.list_tenant_budgets(tenant)

    found = run_async(look())
    if not found and not as_json:
        console.stdout().print(
            "No budgets. 'holdfast budget set TENANT --per month --usd AMOUNT' sets one.", style="quiet"
        )
        return
    _print(found, as_json=as_json)


def _print(budgets: "Sequence[TenantBudget]", *, as_json: bool) -> None:
    from rich.table import Table

    from holdfast.cli import console
    from holdfast.cli.wording import limits, moment, printable

    if as_json:
        console.print_json([_shown(each) for each in budgets])
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="quiet")
    for column in ("tenant", "budget", "per", "spent", "reserved", "until"):
        table.add_column(column, overflow="fold")
    for each in budgets:
        table.add_row(
            printable(each.tenant),
            limits(each.budget),
            each.period,
            limits(Budget(usd=each.spent_usd, tokens=each.used_tokens)),
            limits(Budget(usd=each.reserved_usd, tokens=each.reserved_tokens)),
            moment(each.ends_at),
        )
    console.stdout().print(table)


def _shown(found: "TenantBudget") -> dict[str, object]:
    from holdfast.cli.shapes import budget_shape

    return {
        "tenant": found.tenant,
        "period": found.period,
        "budget": budget_shape(found.budget),
        "begins_at": found.begins_at,
        "ends_at": found.ends_at,
        "spent": budget_shape(Budget(usd=found.spent_usd, tokens=found.used_tokens)),
        "reserved": budget_shape(Budget(usd=found.reserved_usd, tokens=found.reserved_tokens)),
    }
