"""(f) A small job beside large ones that saturate the lane from other processes."""

import contextlib
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import Bench, Row, Table
from bench.writing import (
    FIRST_TOKEN_SECONDS,
    PROVIDER_BURST_SECONDS,
    RPM,
    TOKENS_PER_SECOND,
    TPM,
    get_log,
)

TARGET_RATIO = 1.3
LARGE_CALLS, SMALL_CALLS = 161, 4
ANSWER_TOKENS = 1_365
TOKENS = 4_000
"""What a call may answer, which is what it is charged."""
LARGE_TOKENS_IN_TURN = 6_000
"""So that the large job outlasts a small one that makes its calls one after another."""
_SECONDS_MAX = 240.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """How the two jobs call."""

    what: str
    small: str
    """Urgency of the small job's calls."""
    large: str
    in_turn: bool = False
    processes: int = 1
    """How many have a large job each."""

    def jobs(self, large_calls: int) -> dict[str, dict[str, Any]]:
        tokens = LARGE_TOKENS_IN_TURN if self.in_turn else TOKENS
        return {
            "large": {
                "calls": large_calls, "tokens": tokens, "urgency": self.large, "in_turn": False,
            },
            "small": {
                "calls": SMALL_CALLS, "tokens": TOKENS, "urgency": self.small, "in_turn": self.in_turn,
            },
        }  # fmt: skip


CASES = (
    Case(what="4 calls at once, both jobs normal", small="normal", large="normal"),
    Case(what="4 calls at once, interactive beside background", small="interactive", large="background"),
    Case(
        what="4 calls at once, interactive beside five background jobs in five processes",
        small="interactive",
        large="background",
        processes=5,
    ),
    Case(what="4 calls one after another, both normal", small="normal", large="normal", in_turn=True),
    Case(
        what="4 calls one after another, interactive beside background",
        small="interactive",
        large="background",
        in_turn=True,
    ),
)


def measure(bench: Bench) -> Table:
    """Run each case some times, each on a fresh store and a fresh provider."""
    rounds = bench.plan.pick(3, 1, 1)
    scale = bench.plan.pick(6.0, 10.0, 40.0)
    cases = bench.plan.pick(CASES, CASES, CASES[:1])
    rows = [_row(case, [_round(bench, case, scale) for _ in range(rounds)], scale) for case in cases]
    return Table(rows=rows, note=_NOTE.replace("SCALE", f"{scale:g}").replace("ROUNDS", str(rounds)))


def _row(case: Case, found: list[dict[str, Any]], scale: float) -> Row:
    worst = max(each["beside"] / each["alone"] for each in found)
    beside = statistics.median(each["beside"] for each in found) * scale
    alone = statistics.median(each["alone"] for each in found) * scale
    refused = sum(each["refused_429"] for each in found)
    valid = all(each["large_still_running"] for each in found)
    said = "" if valid else "; the large job had ended"
    return Row(
        what=case.what,
        ours=f"{beside:.1f} s beside it, {refused} × 429",
        peer=f"{alone:.1f} s alone",
        ratio=f"{worst:.2f} at worst",
        target=f"≤ {TARGET_RATIO} and 0 × 429",
        met=worst <= TARGET_RATIO and refused == 0 and valid,
        short_by=f"{worst:.2f} times, {refused} × 429{said}",
    )


def _round(bench: Bench, case: Case, scale: float) -> dict[str, Any]:
    large_calls = bench.plan.pick(LARGE_CALLS, LARGE_CALLS, 60)
    limits = {"rpm": RPM, "tpm": TPM, "time_scale": scale}
    with bench.fresh_folder() as home, _provider(bench, home, limits) as base_url:
        settings = {"home": str(home), "base_url": base_url, **limits}
        busy = [
            bench.start("fairness", home / "errors.log", role="large", **settings)
            for _ in range(case.processes)
        ]
        try:
            for process in busy:
                assert process.stdout is not None
                process.stdout.readline()
            found: dict[str, Any] = bench.measure(
                "fairness",
                seconds_max=_SECONDS_MAX,
                role="small",
                processes=case.processes,
                **case.jobs(large_calls),
                **settings,
            )
            return {**found, "refused_429": get_log(base_url)["summary"]["refused_429"]}
        finally:
            for process in busy:
                bench.stop(process)


@contextlib.contextmanager
def _provider(bench: Bench, folder: Path, limits: dict[str, float]) -> Iterator[str]:
    """Start a simulator with fresh buckets and give its base URL."""
    process = bench.start(
        "provider",
        folder / "errors.log",
        answer_tokens=ANSWER_TOKENS,
        tokens_per_second=TOKENS_PER_SECOND,
        first_token_seconds=FIRST_TOKEN_SECONDS,
        **limits,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
    finally:
        bench.stop(process)


_NOTE = f"""
Two worker processes on one SQLite file: one runs a job of {LARGE_CALLS} calls, all at once, the other
a job of {SMALL_CALLS} calls, first alone, then as soon as the large job has 10 calls in flight.
Where it says so, five processes have such a large job each.
Nothing but the lane in the store connects them.
Times are from submission to result.
The provider is the simulator in a process of its own: {RPM:.0f} requests and {TPM:,.0f} tokens a
minute, {PROVIDER_BURST_SECONDS:.0f} s worth of them at once; an answer takes
{FIRST_TOKEN_SECONDS + ANSWER_TOKENS / TOKENS_PER_SECOND:.0f} s.
A call is charged {TOKENS:,} tokens, so the lane lets {TPM / TOKENS / 60:.1f} calls a second in; those of
the large job {LARGE_TOKENS_IN_TURN:,} where the small one makes its calls one after another, so that
the large one lasts.
Each case was run ROUNDS times on a fresh store; times are medians, the ratio is the worst.
The provider's time runs SCALE times faster than ours; all times are its own.
"""
