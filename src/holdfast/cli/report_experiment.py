"""`holdfast report-experiment`: the same report in batches of several sizes, side by side."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.exits import ExitStatus
from holdfast.cli.options import takes
from holdfast.cli.session import Session, session_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.apps.reports.experiment import DraftRequest
    from holdfast.model import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentOptions:
    """What `holdfast report-experiment` was asked for."""

    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="personal_horoscope or personal_blueprint.")
    ]
    name: Annotated[str, typer.Option(metavar="NAME", help="Whose report it is.")]
    born: Annotated[
        str,
        typer.Option(metavar="'DATE [TIME]'", help="Local date and time of birth, or the date alone."),
    ]
    place: Annotated[str, typer.Option(metavar="PLACE", help="Place of birth.")]
    sizes: Annotated[
        str,
        typer.Option(
            metavar="N,N",
            help="Days (of a horoscope) or sections (of a blueprint) that one call writes.",
        ),
    ] = "1,3"
    start: Annotated[
        str | None, typer.Option(metavar="DATE", help="First day of the report; today by default.")
    ] = None
    days: Annotated[
        int | None, typer.Option(min=1, max=365, metavar="N", help="Days of a horoscope.")
    ] = None
    answers: Annotated[
        int | None, typer.Option(min=1, max=20, metavar="N", help="Answers for each period.")
    ] = None
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model, instead of the configured one.")
    ] = None
    budget: Annotated[
        str | None, typer.Option(metavar="USD", help="The most that each of the reports may cost.")
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False


@takes(ExperimentOptions)
def report_experiment(context: typer.Context, options: ExperimentOptions) -> None:
    """Write a report in batches of several sizes, without printing it, and compare the texts.

    Each size is a job of its own, one after another, so that their times can be compared. The same
    command finds its jobs again on the same day: finished calls are not repeated.
    """
    from holdfast.wiring import run_async

    raise typer.Exit(run_async(_run(session_of(context), options)))


async def _run(session: Session, options: ExperimentOptions) -> int:
    from holdfast.apps.reports.experiment import drafts_of, register_drafts
    from holdfast.cli.report_order import budget_of, today

    app = session.application()
    drafts = drafts_of(options.kind, _request(options, today()), _sizes(options.sizes))
    register_drafts(app.registry, terms_file=app.settings.reports)
    app.models = (*app.models, *filter(None, [options.model]))
    jobs = []
    async with app.client() as client:
        for draft in drafts:
            key = _key(draft)
            budget = budget_of(options.budget)
            job = await client.submit(
                "report_draft", draft, idempotency_key=key, queue=key, budget=budget
            )
            _say(f"batches of {draft.batch_size}: job {job.job_id}")
            if not job.status.terminal:
                async with app.worker(queues=(key,), concurrency=1):
                    await client.wait(job.job_id)
            jobs.append(await client.get(job.job_id))
    return _conclude(drafts, jobs, as_json=options.as_json)


def _conclude(drafts: "Sequence[DraftRequest]", jobs: "Sequence[Job]", *, as_json: bool) -> int:
    from holdfast.cli import console
    from holdfast.cli.experiment_table import figures_of, print_table

    figures = [figures_of(draft, job) for draft, job in zip(drafts, jobs, strict=True)]
    if as_json:
        console.print_json({"product": drafts[0].product, "drafts": figures})
    else:
        print_table(drafts[0].product, figures)
    failed = [job for job in jobs if job.error is not None]
    for job in failed:
        console.print_error(
            f"job {job.job_id} failed: {job.error.message if job.error else ''}",
            f"once mended: holdfast jobs retry {job.job_id}",
        )
    return ExitStatus.JOB_FAILED if failed else ExitStatus.OK


def _request(options: ExperimentOptions, today: str) -> Any:
    from holdfast.apps.reports import report_request

    given = {
        "days": options.days,
        "answers_per_period": options.answers,
        "model": options.model,
    }
    return report_request(
        name=options.name,
        born=options.born,
        place=options.place,
        start=options.start or today,
        **{name: value for name, value in given.items() if value is not None},
    )


def _sizes(given: str) -> list[int]:
    from holdfast.errors import InvalidInputError

    try:
        return [int(size) for size in given.split(",")]
    except ValueError:
        raise InvalidInputError(
            f"sizes {given!r} are not numbers", hint="write them with a comma, such as 1,3"
        ) from None


def _key(draft: "DraftRequest") -> str:
    from holdfast.ids import derived_id

    return derived_id("experiment", draft.model_dump_json())


def _say(words: str) -> None:
    from holdfast.cli import console

    console.stderr().print(words, style="quiet")
