"""The options of `holdfast report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What `holdfast report` was asked for."""

    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="life_clarity, personal_blueprint, personal_horoscope, or bundle: all of them.",
        ),
    ]
    name: Annotated[str, typer.Option(metavar="NAME", help="Whose report it is.")]
    born: Annotated[
        str,
        typer.Option(
            metavar="'DATE [TIME]'",
            help="Local date and time of birth, '1990-05-20 14:30', or the date alone.",
        ),
    ]
    place: Annotated[
        str,
        typer.Option(metavar="PLACE", help="Place of birth: 'Lisbon', 'Paris, Texas', '38.7, -9.1'."),
    ]
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The PDF to write; KIND.pdf by default. Of a bundle, the folder."
        ),
    ] = None
    start: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="First day of the report; by default the day the command was first run."
        ),
    ] = None
    days: Annotated[
        int | None,
        typer.Option(min=1, max=365, metavar="N", help="Days of a horoscope; fewer for a trial."),
    ] = None
    answers: Annotated[
        int | None,
        typer.Option(min=1, max=20, metavar="N", help="Answers for each day, week, month, year."),
    ] = None
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=500, metavar="N", help="Model calls at the same time.")
    ] = None
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="USD", help="The most that the report may cost in all; unlimited by default."
        ),
    ] = None
    retry: Annotated[
        bool, typer.Option("--retry", help="Run a report again that failed or was cancelled.")
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False
