"""(d) Typesetting a long report: processor time and memory, by length."""

from typing import Any

from bench.harness import NOT_MEASURED, Bench, Row, Table, installed

TARGET_CPU_SECONDS = 60.0
TARGET_MB = 400.0
_SECONDS_MAX = 900.0


def measure(bench: Bench) -> Table:
    """Render three lengths, then a short one with WeasyPrint beside ours."""
    table = Table(note=_NOTE)
    for chapters in bench.plan.pick((430, 860, 2_150), (60,), ()):
        found = _render(bench, "ours", chapters)
        table.rows += _rows(found, chapters, judged=chapters == 430)
    small = bench.plan.pick(40, 20, 2)
    table.rows += _beside(bench, small)
    return table


def _render(bench: Bench, work: str, chapters: int) -> dict[str, Any]:
    found: dict[str, Any] = bench.measure("pdf", seconds_max=_SECONDS_MAX, work=work, chapters=chapters)
    return found


def _rows(found: dict[str, Any], chapters: int, *, judged: bool) -> list[Row]:
    cpu, largest = found["cpu_seconds"], _mb(found["largest_kib"])
    what = f"{chapters:,} chapters, {found['pages']:,} pages"
    time = Row(
        what=f"{what}: processor time", ours=f"{cpu:.0f} s ({found['seconds']:.0f} s by the clock)"
    )
    memory = Row(
        what="… peak memory of the largest process",
        ours=f"{largest:.0f} MB (all together {_mb(found['together_kib']):.0f} MB)",
    )
    if not judged:
        return [time, memory]
    return [
        Row(
            what=time.what,
            ours=time.ours,
            target=f"≤ {TARGET_CPU_SECONDS:g} s",
            met=cpu <= TARGET_CPU_SECONDS,
            short_by=f"{cpu - TARGET_CPU_SECONDS:.0f} s more",
        ),
        Row(
            what=memory.what,
            ours=memory.ours,
            target=f"≤ {TARGET_MB:g} MB",
            met=largest <= TARGET_MB,
            short_by=f"{largest - TARGET_MB:.0f} MB more",
        ),
    ]


def _beside(bench: Bench, chapters: int) -> list[Row]:
    ours = _render(bench, "ours", chapters)
    each = ours["cpu_seconds"] / chapters
    time = f"{each:.2f} s ({ours['pages']} pages)"
    memory = f"{_mb(ours['largest_kib']):.0f} MB"
    what = f"{chapters} chapters, processor time per chapter"
    if not (installed("weasyprint") and installed("pypdf")):
        return [Row(what=what, ours=time, peer=f"WeasyPrint and pypdf are {NOT_MEASURED}")]
    theirs = _render(bench, "weasyprint", chapters)
    other = theirs["cpu_seconds"] / chapters
    return [
        Row(
            what=what,
            ours=time,
            peer=f"WeasyPrint + pypdf {other:.2f} s ({theirs['pages']} pages)",
            ratio=f"{other / each:.1f}×",
        ),
        Row(
            what="… peak memory of the largest process",
            ours=memory,
            peer=f"WeasyPrint + pypdf {_mb(theirs['largest_kib']):.0f} MB",
            ratio=f"{theirs['largest_kib'] / ours['largest_kib']:.1f}×",
        ),
    ]


def _mb(kib: float) -> float:
    return kib * 1024 / 1e6


_NOTE = """
Synthetic horoscopes of 20 answers of 80 to 150 words a chapter, rendered by `render_report` with
two child processes.
Processor time is user and system time of all processes.
Longer reports are further years of the same horoscope.
Peak memory is the largest resident set of any one process; the sum over all processes at one
moment, sampled 20 times a second, stands beside it.

WeasyPrint renders the same texts in chunks of ten chapters, the way of the published design, and
pypdf joins them: plainer pages, no chart, no tags, no links across chunks, no total page count.
It is measured at a small size and told per chapter, because its time grows with the chapters.
Ours has a fixed part for each child process, which weighs most in a short report.
"""
