"""The list of jobs as a table that fits the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from holdfast.cli.wording import age, money, printable
from holdfast.clock import SystemClock
from holdfast.model import JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.model import Job

STYLES = {
    JobStatus.QUEUED: "quiet",
    JobStatus.RUNNING: "busy",
    JobStatus.SUSPENDED: "waiting",
    JobStatus.COMPLETED: "good",
    JobStatus.FAILED: "bad",
    JobStatus.CANCELLED: "quiet",
}
_WIDE = 110
"""Columns from which there is room for everything."""


def status_text(job: Job) -> Text:
    """Return the status in its colour, with what a suspended job waits for."""
    words = f"waits: {job.suspend_reason}" if job.suspend_reason else str(job.status)
    if job.cancel_requested_at is not None and not job.status.terminal:
        words = "cancelling"
    return Text(words, style=STYLES[job.status])


def table_of(jobs: Sequence[Job], *, width: int) -> Table:
    """Return one row for each job."""
    wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="quiet")
    table.add_column("job", no_wrap=True)
    table.add_column("kind", overflow="ellipsis", no_wrap=True, ratio=None if wide else 1)
    table.add_column("status", no_wrap=True)
    table.add_column("done", justify="right", no_wrap=True)
    if wide:
        table.add_column("calls", justify="right", no_wrap=True)
        table.add_column("spent", justify="right", no_wrap=True)
        table.add_column("on", overflow="ellipsis", no_wrap=True, max_width=30)
    table.add_column("age", justify="right", no_wrap=True)
    now = SystemClock().now()
    for job in jobs:
        extra = (
            (f"{job.usage.calls:,}", money(job.usage.usd), Text(printable(job.progress.label)))
            if wide
            else ()
        )
        table.add_row(
            job.job_id,
            Text(printable(job.kind)),
            status_text(job),
            _share(job),
            *extra,
            age(job.created_at, now),
        )
    return table


def _share(job: Job) -> str:
    if job.status is JobStatus.COMPLETED:
        return "100 %"
    return f"{job.progress.fraction:.0%}".replace("%", " %") if job.progress.total else "–"
