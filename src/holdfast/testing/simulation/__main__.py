"""`python -m holdfast.testing.simulation`: replay a seed, or look for one that fails."""

from __future__ import annotations

import argparse
import sys
import time
from itertools import count

from holdfast.testing.simulation import Plan, Report, plan_of, shrink, simulate


def main(arguments: list[str] | None = None) -> int:
    """Simulate and return 1 if something was not as promised, else 0."""
    asked = _parser().parse_args(arguments)
    if asked.seed is not None:
        report = simulate(plan_of(asked.seed), verbose=asked.verbose)
        _say(*report.plan.lines(), *report.lines, _outcome(report))
        return _explain(report) if report.violations else 0
    return _search(asked)


def _search(asked: argparse.Namespace) -> int:
    ends_at = None if asked.minutes is None else time.monotonic() + 60 * asked.minutes
    limit = asked.seeds if asked.seeds is not None else (100 if ends_at is None else None)
    tried = verbs = failed = 0
    seconds = 0.0
    for seed in count(asked.first):
        if (limit is not None and tried >= limit) or (ends_at and time.monotonic() >= ends_at):
            break
        report = simulate(plan_of(seed))
        tried, verbs, seconds = tried + 1, verbs + report.verbs, seconds + report.seconds
        if report.violations:
            failed += 1
            _explain(report)
    _say(f"{tried} seeds, {failed} failed; {verbs} verbs in {seconds / 3600:.1f} virtual hours")
    return 1 if failed else 0


def _explain(report: Report) -> int:
    """Print what is wrong, and the smallest plan that shows it."""
    _say(f"seed {report.plan.seed} failed:", *(f"  {each}" for each in report.violations))
    small = shrink(report.plan, _fails)
    _say("the smallest plan that still fails:", *(f"  {line}" for line in small.lines()))
    _say(*(f"  {each}" for each in simulate(small).violations))
    _say(f"replay: python -m holdfast.testing.simulation --seed {report.plan.seed} -v")
    return 1


def _fails(plan: Plan) -> bool:
    return bool(simulate(plan).violations)


def _outcome(report: Report) -> str:
    verdict = f"{len(report.violations)} violations" if report.violations else "all well"
    return f"{verdict}; {report.verbs} verbs in {report.seconds:.0f} virtual s; {report.trace_hash[:16]}"


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m holdfast.testing.simulation")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("-v", "--verbose", action="store_true", help="with --seed: every verb")
    parser.add_argument("--seeds", type=int, help="try so many, 100 by default")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--minutes", type=float, help="try new ones for so long")
    return parser


if __name__ == "__main__":
    sys.exit(main())
