"""(c) The 161 calls of a report within a provider's limits, against the shortest possible time."""

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.harness import Bench, Row, Table

RPM, TPM = 500.0, 450_000.0
TOKENS_PER_SECOND = 70.0
FIRST_TOKEN_SECONDS = 0.5
PROVIDER_BURST_SECONDS = 10.0
"""What the simulator allows at once, as `ProviderBehaviour.window_seconds` has it."""
ENOUGH_AT_ONCE = 200
TARGET_RATIO = 1.15
_SECONDS_MAX = 400.0


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """The least time that any client could need; in the provider's seconds."""

    admission: float
    """Until the buckets let the last call start."""
    tail: float
    """Then at least the shortest of the calls."""
    longest: float
    """No report is done before its longest call is."""

    @property
    def seconds(self) -> float:
        return max(self.admission + self.tail, self.longest)


def minimum_of(calls: list[dict[str, Any]]) -> Minimum:
    """Compute the least time from what the provider charged and answered."""
    charged = sum(call["charged_tokens"] for call in calls)
    by_tokens = charged / (TPM / 60) - PROVIDER_BURST_SECONDS
    by_requests = len(calls) / (RPM / 60) - PROVIDER_BURST_SECONDS
    times = [FIRST_TOKEN_SECONDS + call["output_tokens"] / TOKENS_PER_SECOND for call in calls]
    return Minimum(admission=max(0.0, by_tokens, by_requests), tail=min(times), longest=max(times))


def best_order_seconds(calls: list[dict[str, Any]]) -> float:
    """Return the time of the best order of these calls: longest answers first (Jackson's rule)."""
    charged, end = 0.0, 0.0
    ordered = sorted(calls, key=lambda call: -call["output_tokens"])
    for number, call in enumerate(ordered, 1):
        charged += call["charged_tokens"]
        by_tokens, by_requests = charged / (TPM / 60), number / (RPM / 60)
        begin = max(0.0, max(by_tokens, by_requests) - PROVIDER_BURST_SECONDS)
        end = max(end, begin + FIRST_TOKEN_SECONDS + call["output_tokens"] / TOKENS_PER_SECOND)
    return end


def measure(bench: Bench) -> Table:
    """Write the report as the product does, with enough calls at once, and one call after another."""
    days = bench.plan.pick(365, 60, 3)
    scale = bench.plan.pick(6.0, 40.0, 100.0)
    table = Table(note=_NOTE.replace("SCALE", f"{scale:g}"))
    product, minimum = _durable(bench, table, days, scale, None)
    if not bench.plan.tiny:
        _durable(bench, table, days, scale, ENOUGH_AT_ONCE)
    table.rows.insert(
        0, Row(what="shortest possible time", ours=_told(minimum.seconds), peer=_made_of(minimum))
    )
    if not bench.plan.tiny:
        _sequential(bench, table, days, scale, product)
    return table


def _durable(
    bench: Bench, table: Table, days: int, scale: float, concurrency: int | None
) -> tuple[float, Minimum]:
    with _provider(bench, days, scale) as base_url:
        found = bench.measure(
            "writing",
            seconds_max=_SECONDS_MAX,
            work="durable",
            base_url=base_url,
            days=days,
            concurrency=concurrency,
            rpm=RPM,
            tpm=TPM,
            time_scale=scale,
        )
        log = get_log(base_url)
    summary = log["summary"]
    answered = [call for call in log["calls"] if call["answered"]]
    minimum, best = minimum_of(answered), best_order_seconds(answered)
    seconds, refused = found["seconds"] * scale, summary["refused_429"]
    ratio = seconds / minimum.seconds
    most = summary["peak_concurrent"]
    how = "as the product is set" if concurrency is None else f"up to {concurrency} calls at once"
    met = ratio <= TARGET_RATIO and refused == 0 and summary["answered"] == found["calls"]
    table.rows.append(
        Row(
            what=f"{found['calls']} calls, {found['answers']:,} answers, {how}",
            ours=f"{_told(seconds)}, {refused} × 429, {most} in flight at most",
            peer="shortest possible time",
            ratio=f"{ratio:.3f}",
            target=f"≤ {TARGET_RATIO} and 0 × 429",
            met=met,
            short_by=f"{ratio:.3f} times the minimum, {refused} × 429, {summary['calls']} requests",
        )
    )
    table.rows.append(
        Row(
            what="… against the best order of these calls, longest answers first",
            ours=_told(seconds),
            peer=_told(best),
            ratio=f"{seconds / best:.3f}",
        )
    )
    return seconds, minimum


def _sequential(bench: Bench, table: Table, days: int, scale: float, ours: float) -> None:
    sample = bench.plan.pick(
        {"daily": 2, "weekly": 1, "monthly": 1, "yearly": 1},
        {"daily": 1, "weekly": 1, "monthly": 1, "yearly": 1},
        {"daily": 1, "weekly": 1, "monthly": 1, "yearly": 1},
    )
    with _provider(bench, days, scale) as base_url:
        found = bench.measure(
            "writing",
            seconds_max=_SECONDS_MAX,
            work="sequential",
            base_url=base_url,
            days=days,
            calls_of_kind=sample,
            time_scale=scale,
        )
    seconds = found["seconds"] * scale
    table.rows.append(
        Row(
            what="the published design: one call after another, 2.0 s between them",
            ours=_told(ours),
            peer=f"{_told(seconds)} (from {found['measured']} calls of all kinds)",
            ratio=f"{seconds / ours:,.0f}×",
        )
    )


@contextlib.contextmanager
def _provider(bench: Bench, days: int, scale: float) -> Iterator[str]:
    """Start a simulator with fresh buckets and give its base URL."""
    with bench.fresh_folder() as folder:
        process = bench.start(
            "provider",
            folder / "errors.log",
            days=days,
            rpm=RPM,
            tpm=TPM,
            tokens_per_second=TOKENS_PER_SECOND,
            first_token_seconds=FIRST_TOKEN_SECONDS,
            time_scale=scale,
        )
        try:
            assert process.stdout is not None
            yield process.stdout.readline().decode().strip()
        finally:
            bench.stop(process)


def get_log(base_url: str) -> Any:
    """Return the simulator's own account of all calls."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(base_url.removesuffix("/v1") + "/_control/log", timeout=30) as answer:
        return json.load(answer)


def _told(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 3_600 else f"{seconds / 3_600:.1f} h"


def _made_of(minimum: Minimum) -> str:
    return f"{minimum.admission:.0f} s of admission + {minimum.tail:.0f} s of answer"


_NOTE = f"""
The writing part of the personal horoscope, rendering left out, by the product's own code with its
real prompts and checks, as a durable job with lanes and ledger in the store.
The provider is the simulator in a process of its own: {RPM:.0f} requests and {TPM:,.0f} tokens a
minute, {PROVIDER_BURST_SECONDS:.0f} s worth of them at once, {TOKENS_PER_SECOND:.0f} tokens a second
after {FIRST_TOKEN_SECONDS} s.
It charges as OpenAI does: the larger of `max_tokens` and the estimated prompt, at admission.
Its time runs SCALE times faster than ours; all times are its own.

Shortest possible time, for any client: the last call cannot start before the slower of the two
buckets has let in what all calls are charged, less the full bucket it begins with; after that it
takes at least as long as the shortest of the calls.
No client can end sooner, but none can end then either when most calls are longer than the shortest:
the best order (each call begins when the buckets allow it, longest answers first) stands beside it.

Sequential: some calls of each kind were measured, their mean counts for all of their kind.
Nothing runs beside them, so the sum is exact.
"""
