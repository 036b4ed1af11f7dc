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
from holdfast.cli.shapes import job_shape
from holdfast.cli.wording import counted, duration, printable, size, spent
from holdfast.model import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.cli.report_order import ReportOrder
    from holdfast.model import Job
    from holdfast.settings import Settings


def print_summary(
    settings: Settings, order: ReportOrder, job: Job, *, again: bool, as_json: bool
) -> None:
    """Print how a report ended; `again` if it had ended before this command."""
    if as_json:
        console.print_json(summary_shape(settings, order, job, again=again))
    if job.status is not JobStatus.COMPLETED:
        _print_failure(job, again=again)
        return
    if as_json:
        return
    out = console.stdout()
    result = msgspec.json.decode(job.output or b"{}")
    incomplete = order.is_bundle and any(part["report"] is None for part in result["parts"])
    head = Text("! ", style="waiting") if incomplete else Text("✓ ", style="good")
    head.append(printable(order.title), style="strong")
    out.print(head)
    if again:
        out.print("  written before; the file was written again without any model call", style="quiet")
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="quiet", no_wrap=True)
    rows.add_column(overflow="fold")
    for name, words in _rows(settings, order, job, result):
        rows.add_row(name, printable(words))
    out.print(Padding(rows, (1, 0, 1, 2), expand=False))


def _rows(
    settings: Settings, order: ReportOrder, job: Job, result: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    usage = job.usage
    if order.is_bundle:
        for part in result["parts"]:
            yield from _part(order, part)
    else:
        yield "file", f"{order.out} · {size(result['size_bytes'])}"
        yield (
            "pages",
            f"{result['pages']:,} with {counted(result['answers'], 'answer')}, from {first_day(job)} on",
        )
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
    for notice in _notices(result):
        yield "note", notice


def _part(order: ReportOrder, part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    name, report = part["product"].replace("_", " "), part["report"]
    if report is None:
        yield name, f"failed, {part['error']['code']}: {part['error']['message']}"
        yield "", f"once mended: holdfast jobs retry {part['job_id']}"
        return
    file = order.out / report["artifact"]
    yield name, f"{file} · {report['pages']:,} pages · {size(report['size_bytes'])}"


def _notices(result: dict[str, Any]) -> list[str]:
    reports = [part["report"] for part in result["parts"]] if "parts" in result else [result]
    return [notice for report in reports if report for notice in report["notices"]]


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


def summary_shape(settings: Settings, order: ReportOrder, job: Job, *, again: bool) -> dict[str, Any]:
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
    }
