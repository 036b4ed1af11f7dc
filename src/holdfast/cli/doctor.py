"""`holdfast doctor`: is everything there that jobs need, and what to do where it is not."""

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.exits import ExitStatus
from holdfast.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.cli.finding import Finding


def doctor(
    context: typer.Context,
    *,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline", help="Do not try to reach the model endpoint, Stripe or the mail server."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Check every needed setting and component; exit status 1 when something is broken."""
    from holdfast.cli.checks import run_checks
    from holdfast.wiring import run_async

    session = session_of(context)
    session.need_store()
    findings = run_async(run_checks(session, offline=offline))
    if as_json:
        from holdfast.cli import console

        console.print_json(
            {
                "healthy": not any(found.verdict == "problem" for found in findings),
                "checks": [
                    {
                        "area": f.area,
                        "name": f.name,
                        "verdict": f.verdict,
                        "told": f.told,
                        "to_do": f.to_do,
                    }
                    for f in findings
                ],
            }
        )
    else:
        print_findings(findings)
    if any(found.verdict == "problem" for found in findings):
        raise typer.Exit(ExitStatus.FAILED)


def print_findings(findings: "Sequence[Finding]") -> None:
    """Print one line for each finding, what to do below it, and the sum."""
    from rich.table import Table
    from rich.text import Text

    from holdfast.cli import console
    from holdfast.cli.wording import counted, printable

    marks = {"ok": ("✓", "good"), "warning": ("!", "waiting"), "problem": ("✗", "bad")}
    out = console.stdout()
    area = ""
    for found in findings:
        if found.area != area:
            out.print(("" if not area else "\n") + found.area, style="heading")
            area = found.area
        mark, style = marks[found.verdict]
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=2, justify="right")
        grid.add_column(width=17, no_wrap=True)
        grid.add_column(overflow="fold")
        told = Text(printable(found.told))
        if found.to_do:
            told.append(f"\n→ {printable(found.to_do)}", style=style)
        grid.add_row(Text(mark, style=style), found.name, told)
        out.print(grid)
    problems = sum(found.verdict == "problem" for found in findings)
    warnings = sum(found.verdict == "warning" for found in findings)
    parts = [counted(problems, "problem")] if problems else []
    parts += [counted(warnings, "warning")] if warnings else []
    out.print()
    out.print(
        " and ".join(parts) if parts else "All well.",
        style="bad" if problems else "good" if not parts else "waiting",
    )
