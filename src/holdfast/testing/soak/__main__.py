"""`python -m holdfast.testing.soak`: a shop, a fleet, a hundred customers, kills, and an audit."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from holdfast.testing.chaos.stage import BROKERS
from holdfast.testing.soak import report
from holdfast.testing.soak.options import Options
from holdfast.testing.soak.run import run_soak

_SEEDS = 1_000_000
_INTERRUPTED = 130
"""Exit status, as shells have it for Ctrl-C."""


def main(arguments: list[str] | None = None) -> int:
    """Run it; return 1 if something was not as promised, else 0."""
    asked = _parser().parse_args(arguments)
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(_SEEDS)
    options = Options(**{each.name: getattr(asked, each.name) for each in fields(Options)})
    try:
        return 0 if asyncio.run(_run(options, seed, keep=asked.keep)) else 1
    except KeyboardInterrupt:
        _say("interrupted; all processes have been ended")
        return _INTERRUPTED


async def _run(options: Options, seed: int, *, keep: bool) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="holdfast-soak-"))
    logger = logging.getLogger("holdfast")
    logger.propagate = False
    logger.addHandler(own := logging.FileHandler(folder / "client.log"))
    _say(f"seed {seed}, broker {options.broker}, logs in {folder}")
    try:
        outcome = await run_soak(options, seed, folder)
    finally:
        logger.removeHandler(own)
        own.close()
    report.write(outcome, folder)
    _say(*report.lines(outcome))
    if outcome.findings or keep:
        _say(f"logs, journal and books are in {folder}")
    else:
        shutil.rmtree(folder)
    return not outcome.findings


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m holdfast.testing.soak")
    parser.add_argument("--seed", type=int, help="drawn and printed by default")
    parser.add_argument("--keep", action="store_true", help="keep logs and books of a good run, too")
    usual = Options()
    for each in fields(Options):
        value = getattr(usual, each.name)
        name = f"--{each.name.replace('_', '-')}"
        if each.name == "broker":
            parser.add_argument(name, choices=sorted(BROKERS), default=value)
        elif isinstance(value, bool):
            parser.add_argument(name, action="store_true", help="restart servers, stop workers, too")
        else:
            parser.add_argument(name, type=type(value), default=value, help=f"{value:g} by default")
    return parser


if __name__ == "__main__":
    sys.exit(main())
