"""Tells people what a soak did and found."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING

from holdfast.apps.reports.orders.models import REPORT_KEY
from holdfast.ids import child_id
from holdfast.testing.chaos.auditor import calls_at_blows
from holdfast.testing.chaos.books import ITEMISED
from holdfast.testing.soak.auditor import letters_repeated
from holdfast.testing.soak.books import Phase

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.testing.soak.books import ShopBooks
    from holdfast.testing.soak.run import Outcome

_SHOWN = 40


def lines(outcome: Outcome) -> list[str]:
    """Return a summary, the findings last."""
    options, books = outcome.options, outcome.books
    work = books.work
    mixed = [visit.customer for visit in books.visits if visit.customer.phase is Phase.KILLS]
    kills = sum(name == "SIGKILL" for each in work.processes for name, _ in each.told)
    ledger = Counter(call.status for call in work.ledger)
    paid, back = sum(page.paid for page in books.pages), sum(page.refunded for page in books.pages)
    text = f"""\
broker {options.broker}: {options.workers} workers and a service, {len(mixed)} mixed orders
  {_counts(Counter(customer.product for customer in mixed))}
  {_counts(Counter(str(customer.way) for customer in mixed))}
  {kills} kills in {outcome.trouble_seconds:.0f} s, {len(work.processes)} processes
  the whole run took {outcome.seconds:.0f} s
  orders: {_counts(Counter(order.payment for order in books.orders))}
  till: {paid / 100:.2f} paid, {back / 100:.2f} given back; {len(books.noted)} events noted
  {len(books.reports)} reports of {sum(report.told.pages or 0 for report in books.reports)} pages
  {len(books.letters)} e-mails taken, {letters_repeated(books)} of them repeats
  {len(work.provider)} calls reached the provider, {calls_at_blows(work)} were in flight at kills,\
 {sum(ledger[status] for status in ITEMISED)} itemised as possibly paid twice
  life_clarity from payment to report, in seconds:"""
    return [*text.splitlines(), *_latencies(books), *_findings(outcome.findings)]


def _latencies(books: ShopBooks) -> list[str]:
    times = {phase: latencies(books, phase) for phase in (Phase.IDLE, Phase.BESIDE, Phase.KILLS)}
    told = [
        f"    {phase.value}: median {median(found):.1f}, {min(found):.1f} to {max(found):.1f}"
        f" ({len(found)} orders)"
        for phase, found in times.items()
        if found
    ]
    if times[Phase.IDLE] and times[Phase.BESIDE]:
        ratio = median(times[Phase.BESIDE]) / median(times[Phase.IDLE])
        told.append(f"    beside horoscopes it takes {ratio:.2f} times as long as on the idle fleet")
    return told


def latencies(books: ShopBooks, phase: Phase, product: str = "life_clarity") -> list[float]:
    """Return how long orders took, from when their payment was stored until their report was."""
    orders = {order.order_id: order for order in books.orders}
    ready = {event.job_id: event.at for event in books.work.events if event.type == "job.completed"}
    found = []
    for visit in books.visits:
        if visit.customer.phase is phase and visit.customer.product == product:
            for order_id in visit.order_ids & orders.keys():
                order = orders[order_id]
                at = ready.get(child_id(order.job_id, REPORT_KEY)) if order.job_id else None
                if at is not None and order.paid_at is not None:
                    found.append(at - order.paid_at)
    return sorted(found)


def _findings(findings: list[str]) -> list[str]:
    if not findings:
        return ["  all books agree, nothing was left behind, nothing was told that must not be"]
    more = [f"  - and {len(findings) - _SHOWN} more"] if len(findings) > _SHOWN else []
    return [f"  {len(findings)} FINDINGS", *(f"  - {each}" for each in findings[:_SHOWN]), *more]


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common()) or "nothing"


def write(outcome: Outcome, folder: Path) -> None:
    """Leave everything that is known in the folder, for a look afterwards."""
    known = {
        "options": asdict(outcome.options),
        "seed": outcome.seed,
        "findings": outcome.findings,
        "done": outcome.done,
        "summary": lines(outcome),
        "books": asdict(outcome.books),
    }
    (folder / "report.json").write_text(json.dumps(known, indent=1, default=sorted))
