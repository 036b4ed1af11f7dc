"""(o) The products in a fleet: time, calls, tokens, money, pages, memory; the fast beside the long."""

import contextlib
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import Bench, Row, SideError, Table
from bench.memory import Peaks
from bench.servers import running, version_of
from bench.writing import (
    FIRST_TOKEN_SECONDS,
    PROVIDER_BURST_SECONDS,
    RPM,
    TOKENS_PER_SECOND,
    TPM,
    get_log,
    minimum_of,
)
from holdfast.testing.servers.postgres import Postgres

CLARITY, BLUEPRINT, HOROSCOPE, BUNDLE = KINDS = (
    "life_clarity",
    "personal_blueprint",
    "personal_horoscope",
    "bundle",
)
SLOTS = {CLARITY: 2, BLUEPRINT: 1, HOROSCOPE: 3, BUNDLE: 1}
"""Of the worker of each queue."""
ROUND = 5
"""Calls of a blueprint at a time."""
CONTAINER_MB = 2_000.0
"""What a worker with its children may take: the product line's own limit."""
BESIDE, BESIDE_RATIO = 3, 1.5
"""How many horoscopes a fast order has beside it, and how much longer it may take then."""
_BEGUN_CALLS = 5
_TRIAL = {"days": 1, "answers_per_period": 1, "sections_per_batch": 12}
"""Options of the least that can be ordered."""
_DATABASE = "bench"
_SECONDS_MAX = 400.0

Found = dict[str, Any]


def measure(bench: Bench) -> Table:
    """Order each product once on an idle fleet, then the fast one some times alone and beside."""
    scale, slow_scale = bench.plan.pick((10.0, 3.0), (20.0, 10.0), (100.0, 100.0))
    table = Table(note=_NOTE.replace("FASTER", f"{scale:g}").replace("SLOWER", f"{slow_scale:g}"))
    with running(Postgres(fsync=True)) as server:
        if bench.plan.tiny:
            with _fleet(bench, server, (CLARITY, HOROSCOPE), scale, days=1) as fleet:
                table.rows += [*fleet.product(CLARITY), *fleet.beside()]
        else:
            with _fleet(bench, server, KINDS, scale, days=bench.plan.pick(365, 60, 1)) as fleet:
                fleet.warm_up()
                table.rows += [row for kind in KINDS for row in fleet.product(kind)]
            with _fleet(bench, server, (CLARITY, HOROSCOPE), slow_scale, days=1) as fleet:
                table.rows += fleet.beside()
    return Table(rows=table.rows, note=table.note + version_of("postgres") + " with `fsync`.\n")


@dataclass(frozen=True, kw_only=True)
class _Fleet:
    """Workers, their provider and their database, all as new."""

    bench: Bench
    scale: float
    settings: dict[str, Any]
    workers: Mapping[str, "subprocess.Popen[bytes]"]
    """By the product that each of them makes."""

    def warm_up(self) -> None:
        """Have the worker of the fast product import what it imports with its first order."""
        self._ask("order", kind=CLARITY, options=_TRIAL)

    def product(self, kind: str) -> list[Row]:
        """Order one product and return its rows."""
        before = len(self._calls())
        with Peaks([worker.pid for worker in self.workers.values()]) as peaks:
            [found] = self._ask("order", kind=kind, options=_options(self.bench))
        calls = [call for call in self._calls()[before:] if call["answered"]]
        rows = [_time_row(kind, found, calls, self.scale), _amount_row(found, calls)]
        return [*rows, _memory_row(kind, peaks, self.workers)]

    def beside(self) -> list[Row]:
        """Order the fast product alone, then beside horoscopes."""
        pick = self.bench.plan.pick
        found = self._ask(
            "beside",
            kind=CLARITY,
            options=_options(self.bench),
            orders=pick(3, 2, 1),
            warm_ups=pick(1, 1, 0),
            busy={
                "kind": HOROSCOPE,
                "options": pick({}, {}, _TRIAL),
                "jobs": pick(BESIDE, BESIDE, 1),
                "calls": pick(_BEGUN_CALLS, _BEGUN_CALLS, 1),
            },
        )
        refused = get_log(self.settings["base_url"])["summary"]["refused_429"]
        return _beside_rows(found, refused, self.scale)

    def _ask(self, role: str, **asked: Any) -> Any:
        return self.bench.measure(
            "products", seconds_max=_SECONDS_MAX, role=role, asked=asked, **self.settings
        )

    def _calls(self) -> Sequence[Found]:
        found: Sequence[Found] = get_log(self.settings["base_url"])["calls"]
        return found


@contextlib.contextmanager
def _fleet(
    bench: Bench, server: Postgres, kinds: Sequence[str], scale: float, *, days: int
) -> Iterator[_Fleet]:
    """Start a worker for each product, and a provider that has so many days of answers at hand."""
    limits = {"rpm": RPM, "tpm": TPM, "time_scale": scale}
    store = server.create_database(_DATABASE)
    with bench.fresh_folder() as home, contextlib.ExitStack() as started:
        started.callback(server.drop_database, _DATABASE)
        provider = bench.start(
            "provider",
            home / "errors.log",
            days=days,
            tokens_per_second=TOKENS_PER_SECOND,
            first_token_seconds=FIRST_TOKEN_SECONDS,
            **limits,
        )
        started.callback(bench.stop, provider)
        settings = {"home": str(home), "store": store, "base_url": _said(provider, home), **limits}
        workers = {}
        for kind in kinds:
            workers[kind] = bench.start(
                "products",
                home / "errors.log",
                role="serve",
                queue=f"reports.{kind}",
                slots=SLOTS[kind],
                **settings,
            )
            started.callback(bench.stop, workers[kind])
            # One after another: the first of them makes the tables.
            _said(workers[kind], home)
        yield _Fleet(bench=bench, scale=scale, settings=settings, workers=workers)


def _said(process: "subprocess.Popen[bytes]", home: Path) -> str:
    """Return a program's first line: it is ready then."""
    assert process.stdout is not None
    line = process.stdout.readline().decode().strip()
    if not line:
        raise SideError(
            f"a program of the fleet has ended\n{(home / 'errors.log').read_text()[-2_000:]}"
        )
    return line


def _options(bench: Bench) -> dict[str, int]:
    """Return what is ordered: everything, in full, unless the plan is smaller."""
    found: dict[str, int] = bench.plan.pick({}, {"days": 60}, _TRIAL)
    return found


# rows --------------------------------------------------------------------------------------------


def shortest_writing(kind: str, calls: Sequence[Found]) -> float:
    """Return the least time that these calls could take together, in the provider's seconds.

    A blueprint's calls go in rounds, and a round is as long as its longest call.
    """
    least = minimum_of(list(calls)).seconds
    if kind != BLUEPRINT:
        return least
    times = [_answer_seconds(call) for call in calls]
    return max(least, sum(max(times[at : at + ROUND]) for at in range(0, len(times), ROUND)))


def _answer_seconds(call: Found) -> float:
    return float(FIRST_TOKEN_SECONDS + call["output_tokens"] / TOKENS_PER_SECOND)


def in_full(found: Found, scale: float) -> float:
    """Return how long it takes where the provider's time is ours."""
    writing: float = found["writing_seconds"]
    return float(found["seconds"] - writing + writing * scale)


def _time_row(kind: str, found: Found, calls: Sequence[Found], scale: float) -> Row:
    least, writing = shortest_writing(kind, calls), found["writing_seconds"] * scale
    rest = found["seconds"] - found["writing_seconds"]
    return Row(
        what=f"**{_name(kind)}**, from order to PDF",
        ours=f"{in_full(found, scale):.0f} s: {writing:.0f} s of writing, {rest:.0f} s before and after",
        peer=f"{least:.0f} s: shortest possible writing",
        ratio=f"{writing / least:.2f} for the writing",
    )


def _amount_row(found: Found, calls: Sequence[Found]) -> Row:
    charged = sum(call["charged_tokens"] for call in calls)
    priced = f"${found['usd']:.3f}" if not found["unpriced_calls"] else "of unknown price"
    taken = (
        f"{found['calls']:,} calls, {found['tokens']:,} tokens ({charged:,} for the limits), {priced}"
    )
    given = f"{found['pages']:,} pages, {found['bytes'] / 1e6:.1f} MB"
    return Row(what="… what it takes and gives", ours=f"{taken}; {given}")


def _memory_row(kind: str, peaks: Peaks, workers: Mapping[str, "subprocess.Popen[bytes]"]) -> Row:
    makers = [worker.pid for made, worker in workers.items() if kind in {made, BUNDLE}]
    worker, child = max(map(peaks.own_mb, makers)), max(map(peaks.child_mb, makers))
    family = max(map(peaks.family_mb, makers))
    return Row(
        what="… peak memory",
        ours=f"worker {worker:.0f} MB, its largest child {child:.0f} MB",
        peer=f"{family:.0f} MB: a worker with all its children",
        target=f"≤ {CONTAINER_MB:,.0f} MB together",
        met=family <= CONTAINER_MB,
        short_by=f"{family - CONTAINER_MB:.0f} MB more",
    )


def _beside_rows(found: Found, refused: int, scale: float) -> list[Row]:
    alone, beside = ([in_full(each, scale) for each in found[how]] for how in ("alone", "beside"))
    ratio = statistics.median(beside) / statistics.median(alone)
    valid = found["still_running"]
    said = "" if valid else ", and a horoscope had ended"
    return [
        Row(
            what=f"**{_name(CLARITY)}** beside {BESIDE} horoscopes that are being written",
            ours=f"{statistics.median(beside):.0f} s ({_each(beside)}), {refused} × 429",
            peer=f"{statistics.median(alone):.0f} s alone ({_each(alone)})",
            ratio=f"{ratio:.2f}",
            target=f"≤ {BESIDE_RATIO} and 0 × 429",
            met=ratio <= BESIDE_RATIO and refused == 0 and valid,
            short_by=f"{ratio:.2f} times, {refused} × 429{said}",
        )
    ]


def _each(seconds: Sequence[float]) -> str:
    return ", ".join(f"{each:.0f}" for each in seconds)


def _name(kind: str) -> str:
    return kind.replace("_", " ")


_NOTE = f"""
A worker process for each queue, with the products as they are sold, and a customer in a process of
its own who orders and waits; all on one database.
The provider is the simulator in a process of its own: {RPM:.0f} requests and {TPM:,.0f} tokens a
minute, {PROVIDER_BURST_SECONDS:.0f} s worth of them at once, {TOKENS_PER_SECOND:.0f} tokens a second
after {FIRST_TOKEN_SECONDS} s; the money is what gpt-4o-mini costs.
Its time runs FASTER times faster than ours where one product is made, SLOWER times beside horoscopes;
writing is told in its time, the sky and the typesetting in ours.
So a time is what an order takes where both run at the same pace.

Shortest possible writing, for any client: what the limits let in, as above; no report is done before
its longest call, and a blueprint, whose calls go in rounds of {ROUND}, not before the longest of each
round.

Memory is the resident set, sampled ten times a second; "all its children" is the largest sum at one
moment, and of the bundle the largest among the workers.

Beside horoscopes: {BESIDE} orders of them run in one worker and use all that the limits allow; the calls
of the fast product are interactive (`writing.urgency`), as it is sold.
Times are medians.
"""
