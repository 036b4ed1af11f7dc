"""The outcome of an experiment with batch sizes: figures for programs, a table for people."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from rich.padding import Padding
from rich.table import Table

from holdfast.cli import console
from holdfast.cli.wording import duration, money

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.apps.reports.experiment import DraftRequest
    from holdfast.model import Job

Figures = dict[str, Any]


def figures_of(draft: DraftRequest, job: Job) -> Figures:
    """Return what one size came to; documented in `docs/reference/cli.md`."""
    usage = job.usage
    result = msgspec.json.decode(job.output) if job.output else {}
    return {
        "batch_size": draft.batch_size,
        "job_id": job.job_id,
        "status": job.status,
        "batches": result.get("batches"),
        "calls": usage.calls,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "usd": str(usage.usd),
        "unpriced_calls": usage.unpriced_calls,
        "active_seconds": round(job.active_seconds, 3),
        "text": result.get("text"),
    }


def print_table(product: str, drafts: Sequence[Figures]) -> None:
    """Print the sizes side by side, one figure a line."""
    out = console.stdout()
    out.print(f"{product.replace('_', ' ')}: batch sizes side by side", style="strong")
    table = Table.grid(padding=(0, 3))
    table.add_column(style="quiet", no_wrap=True)
    for _ in drafts:
        table.add_column(justify="right", no_wrap=True)
    table.add_row("batch size", *(f"{draft['batch_size']:,}" for draft in drafts))
    for title, told in _LINES:
        table.add_row(title, *(_cell(told, draft) for draft in drafts))
    out.print(Padding(table, (1, 0, 1, 2), expand=False))


def _cell(told: Callable[[Figures], str], draft: Figures) -> str:
    return told(draft) if draft["text"] else f"({draft['status']})"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _money(draft: Figures) -> str:
    unpriced = f" and {draft['unpriced_calls']:,} of unknown price" if draft["unpriced_calls"] else ""
    return money(Decimal(draft["usd"])) + unpriced


_LINES: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("calls", lambda draft: f"{draft['calls']:,}"),
    ("of them repeated", lambda draft: f"{draft['calls'] - draft['batches']:,}"),
    ("tokens in", lambda draft: f"{draft['input_tokens']:,}"),
    ("tokens out", lambda draft: f"{draft['output_tokens']:,}"),
    ("spent", _money),
    ("time of work", lambda draft: duration(draft["active_seconds"])),
    ("answers", lambda draft: f"{draft['text']['answers']:,}"),
    ("words", lambda draft: f"{draft['text']['words']:,}"),
    ("words an answer", lambda draft: f"{draft['text']['words_mean']:,}"),
    (
        "shortest to longest",
        lambda draft: f"{draft['text']['words_min']:,} to {draft['text']['words_max']:,}",
    ),
    ("in the word range", lambda draft: _percent(draft["text"]["in_range_share"])),
    ("repeated 5-word runs", lambda draft: _percent(draft["text"]["repeated_ngrams_share"])),
    ("repeated openings", lambda draft: _percent(draft["text"]["repeated_openings_share"])),
)
