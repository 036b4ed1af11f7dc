"""`python -m holdfast.testing.chaos`: a fleet, real servers, five minutes of trouble, and an audit."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.testing.chaos import report, schedule
from holdfast.testing.chaos.options import Options
from holdfast.testing.chaos.run import plan_of, run_chaos
from holdfast.testing.chaos.stage import BROKERS

if TYPE_CHECKING:
    from holdfast.testing.chaos.schedule import Fault

_SEEDS = 1_000_000
_INTERRUPTED = 130
"""Exit status, as shells have it for Ctrl-C."""


def main(arguments: list[str] | None = None) -> int:
    """Run it for each broker that was asked for; return 1 if something was not as promised, else 0."""
    asked = _parser().parse_args(arguments)
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(_SEEDS)
    failed = False
    try:
        for broker in asked.broker or ["redis", "rabbitmq"]:
            failed |= not asyncio.run(_run(asked, broker, seed))
    except KeyboardInterrupt:
        _say("interrupted; all processes have been ended")
        return _INTERRUPTED
    return 1 if failed else 0


async def _run(asked: argparse.Namespace, broker: str, seed: int) -> bool:
    options = Options(
        broker=broker,
        seconds=asked.minutes * 60,
        jobs=asked.jobs,
        steps=asked.steps,
        gap_seconds=asked.gap_seconds,
        call_seconds=asked.call_seconds,
        lease_seconds=asked.lease_seconds,
    )
    faults = plan_of(options, seed)
    if asked.replay is not None:
        faults = schedule.from_json(asked.replay.read_text())
    _say(f"seed {seed}, broker {broker}, {len(faults)} faults in {options.seconds:g} s")
    if not await _once(options, faults, keep=asked.keep):
        if asked.shrink:
            _say(f"trying fewer faults, {asked.shrink} times at most, each as long as this run")
            few = await schedule.shrink(faults, lambda some: _fails(options, some), tries=asked.shrink)
            _say(f"{len(few)} faults are enough to fail:", *(f"  {fault}" for fault in few))
            _say("as a file for --replay:", schedule.to_json(few))
        _say(f"again: python -m holdfast.testing.chaos --seed {seed} {_options_told(asked, broker)}")
        return False
    return True


async def _once(options: Options, faults: tuple[Fault, ...], *, keep: bool = False) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="holdfast-chaos-"))
    logger = logging.getLogger("holdfast")
    logger.propagate = False
    logger.addHandler(own := logging.FileHandler(folder / "client.log"))
    try:
        outcome = await run_chaos(options, faults, folder)
    finally:
        logger.removeHandler(own)
        own.close()
    report.write(outcome, folder)
    _say(*report.lines(outcome))
    if outcome.findings:
        _say("the schedule:", *(f"  {fault}" for fault in outcome.faults))
    if outcome.findings or keep:
        _say(f"logs, journal and books are in {folder}")
    else:
        shutil.rmtree(folder)
    return not outcome.findings


async def _fails(options: Options, faults: tuple[Fault, ...]) -> bool:
    _say(f"with {len(faults)} faults:")
    return not await _once(options, faults)


def _options_told(asked: argparse.Namespace, broker: str) -> str:
    names = ("minutes", "jobs", "steps", "gap_seconds", "call_seconds", "lease_seconds")
    told = [f"--{name.replace('_', '-')} {getattr(asked, name):g}" for name in names]
    return " ".join(["--broker", broker, *told])


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    usual = Options()
    parser = argparse.ArgumentParser(prog="python -m holdfast.testing.chaos")
    parser.add_argument("--broker", choices=sorted(BROKERS), action="append", help="redis and rabbitmq")
    parser.add_argument("--minutes", type=float, default=usual.seconds / 60, help="of trouble")
    parser.add_argument("--seed", type=int, help="of the schedule; drawn and printed by default")
    parser.add_argument("--jobs", type=int, default=usual.jobs)
    parser.add_argument("--steps", type=int, default=usual.steps, help="paid ones of each job")
    parser.add_argument("--gap-seconds", type=float, default=usual.gap_seconds, help="between faults")
    parser.add_argument("--call-seconds", type=float, default=usual.call_seconds, help="on average")
    parser.add_argument("--lease-seconds", type=float, default=usual.lease_seconds)
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a schedule.json of an earlier run")
    parser.add_argument(
        "--shrink", type=int, default=6, metavar="N", help="runs with fewer faults after a failure"
    )
    parser.add_argument("--keep", action="store_true", help="keep logs and books of a good run, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
