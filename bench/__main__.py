"""`python -m bench [names] [--quick]`: measure the figures and write docs/reference/performance.md."""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from bench import (
    asleep,
    cancel,
    drain,
    fairness,
    fleet,
    killed,
    page,
    pdf,
    postgres,
    prefork,
    products,
    rescue,
    steps,
    streams,
    submission,
    writing,
)
from bench.harness import ROOT, Bench, Plan, SideError, Table

PAGE = ROOT / "docs" / "reference" / "performance.md"
FOLDER = ROOT / "out" / "bench"

FIGURES: dict[str, tuple[str, Callable[[Bench], Table]]] = {
    "steps": ("Durable steps", steps.measure),
    "asleep": ("Waiting jobs", asleep.measure),
    "writing": ("A report of 161 calls within the limits", writing.measure),
    "fairness": ("A small job beside a large one", fairness.measure),
    "pdf": ("Typesetting", pdf.measure),
    "rescue": ("Rescue after kill -9", rescue.measure),
    "postgres": ("Durable steps on PostgreSQL", postgres.measure),
    "fleet": ("Jobs through Redis", fleet.measure),
    "prefork": ("Waiting jobs beside Celery prefork", prefork.measure),
    "killed": ("Rescue of hundreds of jobs in a fleet", killed.measure),
    "cancel": ("Cancel across machines", cancel.measure),
    "drain": ("A worker of a fleet that leaves", drain.measure),
    "submission": ("Submitting over HTTP", submission.measure),
    "streams": ("Live streams", streams.measure),
    "products": ("The products, and the fast one beside horoscopes", products.measure),
}


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for; exit status 1 if a target was missed, 3 if not all could be."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    unknown = sorted(set(asked.names) - set(FIGURES))
    if unknown:
        parser.error(f"no figure is named {unknown[0]!r}; there are {', '.join(FIGURES)}")
    signal.signal(signal.SIGTERM, _leave)
    plan = Plan(quick=asked.quick, tiny=asked.tiny)
    bench = Bench(plan, asked.folder, tell=_tell)
    out = asked.out or (None if plan.quick or plan.tiny else PAGE)
    titles = {name: title for name, (title, _) in FIGURES.items()}
    missed, failed = 0, list[str]()
    try:
        for name in asked.names or FIGURES:
            title, measure = FIGURES[name]
            _tell(f"== {title}")
            began, machine = time.monotonic(), page.machine_line()
            try:
                table = measure(bench)
            except SideError as error:
                # The other figures are still worth having; the page keeps what it said of this one.
                _tell(f"== {title}: {error}")
                failed.append(name)
                continue
            text = page.section(title, name, machine, table)
            missed += sum(row.met is False for row in table.rows)
            sys.stdout.write(text + "\n")
            if out is not None:
                # At once, so that what is measured stays when a later figure is interrupted.
                page.update(out, titles, {name: text})
            _tell(f"== {title}: {time.monotonic() - began:.0f} s")
    finally:
        bench.close()
    _tell(f"{missed} targets missed" if missed else "all targets met")
    if failed:
        _tell(f"not measured: {', '.join(failed)}")
    return 3 if failed else int(missed > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"of {', '.join(FIGURES)}; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes; the page is not written")
    parser.add_argument("--tiny", action="store_true", help="the least that runs; figures mean nothing")
    parser.add_argument("--out", type=Path, help=f"page to write instead of {PAGE.relative_to(ROOT)}")
    parser.add_argument(
        "--folder",
        type=Path,
        default=FOLDER,
        help="where to put fresh folders: on the disk to be measured",
    )
    return parser


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _leave(number: int, _: FrameType | None) -> None:
    # As an exception, so that every program that was started is ended on the way out.
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
