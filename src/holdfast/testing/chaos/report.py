"""Tells people what a chaos run did and found."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from holdfast.testing.chaos import schedule
from holdfast.testing.chaos.books import ITEMISED

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.testing.chaos.run import Outcome

_SHOWN = 40


def lines(outcome: Outcome) -> list[str]:
    """Return a summary, the findings last."""
    options, books = outcome.options, outcome.books
    statuses = Counter(job.status for job in books.jobs)
    told = Counter(call.status for call in books.ledger)
    repeated = sum(told[status] for status in ITEMISED)
    answered = Counter(call.question for call in books.provider if call.answered)
    attempts = sum(event.type == "attempt.started" for event in books.events)
    away = sum(outage.ended - outage.began for outage in books.outages)
    paid_again = sum(count - 1 for count in answered.values())
    text = f"""\
broker {options.broker}: {options.workers} workers, {options.jobs} jobs of {options.steps} paid steps
  {len(outcome.faults)} faults in {options.seconds:g} s: {schedule.summary(outcome.faults)}
  servers were away for {away:.0f} s, the whole run took {outcome.seconds:.0f} s
  {_counts(statuses)} in {attempts} attempts by {len(books.processes)} processes
  the last job ended {outcome.end_seconds:.1f} s after the last fault was over
  {len(books.provider)} calls reached the provider, {sum(answered.values())} were answered
  {paid_again} answers were paid again, {repeated} itemised as possibly paid twice
  {outcome.at_blows} calls were in flight in workers as those were killed or stopped
  ledger: {_counts(told)}"""
    return [*text.splitlines(), *_findings(outcome.findings)]


def _findings(findings: list[str]) -> list[str]:
    if not findings:
        return ["  the three books agree, nothing was left behind"]
    more = [f"  - and {len(findings) - _SHOWN} more"] if len(findings) > _SHOWN else []
    return [f"  {len(findings)} FINDINGS", *(f"  - {each}" for each in findings[:_SHOWN]), *more]


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common()) or "nothing"


def write(outcome: Outcome, folder: Path) -> None:
    """Leave everything that is known in the folder, for a look afterwards."""
    (folder / "schedule.json").write_text(schedule.to_json(outcome.faults))
    known = {
        "options": asdict(outcome.options),
        "findings": outcome.findings,
        "done": outcome.done,
        "summary": lines(outcome),
        "books": asdict(outcome.books),
    }
    (folder / "report.json").write_text(json.dumps(known, indent=1))
