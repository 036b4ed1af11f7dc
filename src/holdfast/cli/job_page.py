"""`holdfast jobs show`: one job on one page, the most asked first."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from holdfast.cli.job_table import status_text
from holdfast.cli.wording import (
    counted,
    duration,
    limits,
    moment,
    money,
    printable,
    rough_duration,
    size,
    spent,
)
from holdfast.model import CallStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from holdfast.model import Call, Checkpoint, Event, Job
    from holdfast.store.base import JobRecords

ATTEMPT_EVENTS = frozenset(
    {
        "attempt.started",
        "attempt.failed",
        "attempt.released",
        "attempt.lost",
        "job.suspended",
        "job.completed",
        "job.failed",
        "job.cancelled",
    }
)
_ENDINGS = {
    "attempt.failed": ("failed, to be tried again", "bad"),
    "attempt.released": ("handed back", "quiet"),
    "attempt.lost": ("worker lost", "bad"),
    "job.suspended": ("suspended", "waiting"),
    "job.completed": ("completed", "good"),
    "job.failed": ("failed", "bad"),
    "job.cancelled": ("cancelled", "quiet"),
}


@dataclass(frozen=True, slots=True)
class JobPage:
    """All that the page shows."""

    job: Job
    records: JobRecords
    attempts: Sequence[Event]
    children: Sequence[Job] = ()

    @property
    def steps(self) -> list[Checkpoint]:
        """Steps in order, without saved files."""
        return [step for step in self.records.checkpoints if step.artifact is None]

    @property
    def uncertain(self) -> list[Call]:
        """Calls in flight when a worker was lost, and answers that were lost with it."""
        return [call for call in self.records.calls if call.status.repeats]


def print_page(page: JobPage, out: Console, *, calls: bool, steps: bool) -> None:
    """Print the page; parts without content are left out."""
    _print_head(page.job, out)
    _print_error(page.job, out)
    _section(out, "steps", _steps_table(page.steps) if steps else _groups_table(page))
    _section(out, "children", _children_table(page.children))
    _section(out, "attempts", _attempts_table(page.attempts))
    _section(out, "money by model", _money_table(page.records.calls))
    _section(out, "calls possibly paid twice", _calls_table(page.uncertain))
    if calls:
        _section(out, "calls", _calls_table(page.records.calls))
    _section(out, "files", _files_table(page.records.checkpoints))


def _table(*columns: str) -> Table:
    """Return a plain table; columns that begin with `>` are aligned to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="quiet")
    for column in columns:
        justify: Any = "right" if column.startswith(">") else "left"
        last, first = column == columns[-1], column == columns[0]
        table.add_column(
            column.lstrip(">"),
            justify=justify,
            overflow="ellipsis" if first else "fold",
            no_wrap=not last,
        )
    return table


def _section(out: Console, title: str, table: Table) -> None:
    if table.row_count:
        out.print()
        out.print(title, style="heading")
        out.print(Padding(table, (0, 0, 0, 2), expand=False))


def _print_head(job: Job, out: Console) -> None:
    head = Text()
    head.append(printable(job.kind), style="strong")
    head.append("  ")
    head.append_text(status_text(job))
    if job.progress.total and not job.status.terminal:
        head.append(f"  {job.progress.fraction:.0%}".replace("%", " %"))
    out.print(head)
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="quiet", no_wrap=True)
    rows.add_column(overflow="fold")
    for name, words in _facts(job):
        rows.add_row(name, printable(words))
    out.print(rows)


def _facts(job: Job) -> Iterable[tuple[str, str]]:
    yield "job", job.job_id
    if job.parent_id:
        yield "parent", job.parent_id
    yield "queue", job.queue
    if job.tenant:
        yield "tenant", job.tenant
    yield "submitted", moment(job.created_at)
    if job.started_at:
        yield "started", moment(job.started_at)
    if job.finished_at:
        took = (job.finished_at - job.created_at).total_seconds()
        yield "ended", f"{moment(job.finished_at)}, {duration(took)} after submission"
    yield "worked", f"{duration(job.active_seconds)} in {counted(job.attempt, 'counted attempt')}"
    if not job.status.terminal and job.progress.total:
        eta = job.progress.eta_seconds
        left = "" if eta is None else f" · about {rough_duration(eta)} left"
        yield "doing", f"{job.progress.label}{left}"
    if job.available_at and job.status == "suspended":
        yield "wakes", moment(job.available_at)
    usage = job.usage
    if usage.calls or usage.uncertain_calls:
        tokens = (
            f"{usage.input_tokens:,} in ({usage.cached_tokens:,} cached), {usage.output_tokens:,} out"
        )
        yield "calls", f"{usage.calls:,} · tokens {tokens}"
        yield "spent", spent(usage)
    if job.budget.usd is not None or job.budget.tokens is not None:
        yield "budget", limits(job.budget)


def _print_error(job: Job, out: Console) -> None:
    if job.error is None:
        return
    out.print()
    out.print(f"{job.error.type} ({job.error.code})", style="bad")
    out.print(Padding(Text(printable(job.error.message)), (0, 0, 0, 2), expand=False))
    if job.status == "failed":
        out.print(
            Padding(Text(f"holdfast jobs retry {job.job_id}", style="quiet"), (0, 0, 0, 2), expand=False)
        )


def _groups_table(page: JobPage) -> Table:
    """Steps by the part of their key before the slash, with the money of each group."""
    table = _table("group", ">steps", ">time", ">attempts", ">calls", ">spent")
    steps = sorted(page.steps, key=lambda step: _group(step.key))
    order = {
        key: index for index, key in enumerate(dict.fromkeys(_group(step.key) for step in page.steps))
    }
    groups = [(key, list(found)) for key, found in groupby(steps, key=lambda step: _group(step.key))]
    for key, found in sorted(groups, key=lambda pair: order[pair[0]]):
        calls = [call for call in page.records.calls if _group(call.step_key) == key]
        begun = sum(not step.finished for step in found)
        table.add_row(
            Text(printable(key)),
            f"{len(found) - begun:,}" + (f" + {begun} begun" if begun else ""),
            duration(sum(step.seconds for step in found)),
            f"{sum(step.attempts for step in found):,}",
            f"{len(calls):,}" if calls else "–",
            _sum(calls) if calls else "–",
        )
    return table


def _group(key: str) -> str:
    return key.partition("/")[0]


def _steps_table(steps: Sequence[Checkpoint]) -> Table:
    table = _table("step", ">time", ">attempts", "finished")
    for step in steps:
        finished = moment(step.finished_at) if step.finished else "begun only"
        table.add_row(Text(printable(step.key)), duration(step.seconds), str(step.attempts), finished)
    return table


def _children_table(children: Sequence[Job]) -> Table:
    table = _table("job", "kind", "status")
    for child in children:
        table.add_row(child.job_id, Text(printable(child.kind)), status_text(child))
    return table


def _attempts_table(events: Sequence[Event]) -> Table:
    table = _table("attempt", "started", ">took", "ended")
    started: tuple[Event, dict[str, Any]] | None = None
    for event in events:
        fields = msgspec.json.decode(event.data)
        if event.type == "attempt.started":
            started = (event, fields)
            continue
        if started is None:
            continue
        begin, told = started
        words, style = _ENDINGS[event.type]
        reason = fields.get("reason") or (fields.get("error") or {}).get("type") or ""
        ended = Text(f"{words}{': ' if reason else ''}{printable(str(reason))}", style=style)
        took = duration((event.at - begin.at).total_seconds())
        table.add_row(f"{told['attempt']} (epoch {told['epoch']})", moment(begin.at), took, ended)
        started = None
    if started is not None:
        begin, told = started
        name = f"{told['attempt']} (epoch {told['epoch']})"
        table.add_row(name, moment(begin.at), "", Text("running", style="busy"))
    return table


def _money_table(calls: Sequence[Call]) -> Table:
    table = _table("model", ">calls", ">failed", ">tokens in", ">cached", ">out", ">spent")
    by_model = sorted(calls, key=lambda call: (call.provider, call.model))
    for (provider, model), group in groupby(by_model, key=lambda call: (call.provider, call.model)):
        found = list(group)
        table.add_row(
            Text(printable(f"{provider} {model}" if provider != model else model)),
            f"{len(found):,}",
            f"{sum(call.status is CallStatus.FAILED for call in found):,}",
            f"{sum(call.input_tokens for call in found):,}",
            f"{sum(call.cached_tokens for call in found):,}",
            f"{sum(call.output_tokens for call in found):,}",
            _sum(found),
        )
    return table


_BOOKED = (CallStatus.SETTLED, CallStatus.FAILED, CallStatus.LOST)


def _sum(calls: Iterable[Call]) -> str:
    """Add up what is known and say what is not."""
    settled = [call for call in calls if call.status in _BOOKED]
    unknown = sum(call.usd is None for call in settled)
    known = sum((call.usd or Decimal(0) for call in settled), Decimal(0))
    parts = [money(known)] if known or not unknown else []
    return " + ".join([*parts, f"{unknown} unknown"] if unknown else parts)


def _calls_table(calls: Iterable[Call]) -> Table:
    table = _table("step", "status", "started", ">took", ">in", ">out", ">cost")
    for call in calls:
        took = (
            "" if call.ended_at is None else duration((call.ended_at - call.started_at).total_seconds())
        )
        status = f"{call.status}: {call.error_code}" if call.error_code else str(call.status)
        table.add_row(
            Text(printable(call.step_key)),
            status,
            moment(call.started_at),
            took,
            f"{call.input_tokens:,}",
            f"{call.output_tokens:,}",
            _cost(call),
        )
    return table


def _cost(call: Call) -> str:
    if call.usd is not None:
        return money(call.usd)
    if call.status in (CallStatus.UNCERTAIN, CallStatus.RESERVED) and call.reserved_usd is not None:
        return f"up to {money(call.reserved_usd)}"
    return "unknown"


def _files_table(checkpoints: Iterable[Checkpoint]) -> Table:
    table = _table("name", ">size", "type", "sha256")
    for step in checkpoints:
        if step.artifact is not None:
            found = step.artifact
            table.add_row(
                Text(printable(found.name)), size(found.size_bytes), found.media_type, found.sha256[:16]
            )
    return table
