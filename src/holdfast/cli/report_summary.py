"""The last words of a report command: what there is now, what it took, where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from holdfast.cli import console
from holdfast.cli.check_provider import described
from holdfast.cli.report_order import first_day
from holdfast.cli.shapes import error_shape, job_shape
from holdfast.cli.wording import counted, duration, printable, size, spent
from holdfast.model import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.cli.report_order import ReportOrder
    from holdfast.cli.report_parts import Part
    from holdfast.model import Job
    from holdfast.settings import Settings


def print_summary(
    settings: Settings,
    order: ReportOrder,
    job: Job,
    parts: Sequence[Part],
    *,
    again: bool,
    as_json: bool,
) -> None:
    """Print how a report ended; `again` if it had ended before this command."""
    if as_json:
        console.print_json(summary_shape(settings, order, job, parts, again=again))
    completed = job.status is JobStatus.COMPLETED
    if not as_json and (completed or any(part.file for part in parts)):
        _print_report(settings, order, job, parts, again=again)
    if not completed:
        _print_failure(job, again=again)


def _print_report(
    settings: Settings, order: ReportOrder, job: Job, parts: Sequence[Part], *, again: bool
) -> None:
    completed = job.status is JobStatus.COMPLETED
    out = console.stdout()
    head = Text("✓ ", style="good") if completed else Text("! ", style="waiting")
    head.append(printable(order.title), style="strong")
    out.print(head)
    if again:
        written = "the file was" if completed else "what is ready was"
        out.print(f"  written before; {written} written again without any model call", style="quiet")
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="quiet", no_wrap=True)
    rows.add_column(overflow="fold")
    for name, words in _rows(settings, order, job, parts):
        rows.add_row(name, printable(words))
    out.print(Padding(rows, (1, 0, 1, 2), expand=False))


def _rows(
    settings: Settings, order: ReportOrder, job: Job, parts: Sequence[Part]
) -> Iterator[tuple[str, str]]:
    usage = job.usage
    for part in parts:
        yield from _bundled(part) if order.is_bundle else _alone(part, job)
    yield (
        "calls",
        (
            f"{usage.calls:,} by {described(settings)} · "
            f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
        ),
    )
    yield "spent", spent(usage)
    attempts = "" if job.epoch == 1 else f" in {counted(job.epoch, 'stretch', 'stretches')}"
    yield "time", f"{duration(job.active_seconds)} of work{attempts}"
    yield "job", job.job_id
    yield "kept in", str(settings.home.resolve())
    for part in parts:
        for notice in part.result["notices"] if part.result else ():
            yield "note", notice


def _alone(part: Part, job: Job) -> Iterator[tuple[str, str]]:
    if part.result is None:
        return
    yield "file", f"{part.file} · {size(part.result['size_bytes'])}"
    yield (
        "pages",
        (
            f"{part.result['pages']:,} with {counted(part.result['answers'], 'answer')}, "
            f"from {first_day(job)} on"
        ),
    )


def _bundled(part: Part) -> Iterator[tuple[str, str]]:
    if part.result is not None:
        told = f"{part.result['pages']:,} pages · {size(part.result['size_bytes'])}"
        yield part.name, f"{part.file} · {told}"
        return
    error = part.job.error
    yield part.name, f"{part.job.status}, {error.code}: {error.message}" if error else part.job.status
    yield "", f"its own job: {part.job.job_id}"


def _print_failure(job: Job, *, again: bool) -> None:
    if job.status is JobStatus.CANCELLED:
        console.print_error(
            f"the report was cancelled (job {job.job_id})",
            "add --retry to run it again from where it was; finished calls are kept",
        )
        return
    told = job.error.message if job.error else "no reason was recorded"
    when = "failed in an earlier run" if again else "failed"
    console.print_error(
        f"the report {when} (job {job.job_id}): {told}",
        "once the cause is mended, add --retry to go on from where it failed, "
        f"or run 'holdfast jobs retry {job.job_id}' for a worker; finished calls are kept",
    )


def summary_shape(
    settings: Settings, order: ReportOrder, job: Job, parts: Sequence[Part], *, again: bool
) -> dict[str, Any]:
    """Return the summary for programs; documented in `docs/reference/cli.md`."""
    completed = job.status is JobStatus.COMPLETED
    start = first_day(job)
    return {
        "job": job_shape(job),
        "file": str(order.out.resolve()) if completed else None,
        "already_completed": again and completed,
        "provider": described(settings),
        "start": None if start is None else start.isoformat(),
        "home": str(settings.home.resolve()),
        "result": msgspec.json.decode(job.output) if job.output else None,
        "parts": [_part_shape(part) for part in parts],
    }


def _part_shape(part: Part) -> dict[str, Any]:
    return {
        "product": part.product,
        "job_id": part.job.job_id,
        "status": part.job.status,
        "file": None if part.file is None else str(part.file.resolve()),
        "result": part.result,
        "error": error_shape(part.job.error),
    }
