"""Rendering a report: ours in child processes, or WeasyPrint in chunks joined by pypdf."""

import html
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.sides.program import main, memory_kib
from holdfast.apps.reports.render import ReportDocument, render_report
from holdfast.apps.reports.render.document import Chapter, Part
from tests.apps.reports.render import synthetic

LOOK_SECONDS = 0.05
CHAPTERS_PER_CHUNK = 10
"""Of the published design."""


def document_of(chapters: int) -> ReportDocument:
    """Return a document of so many chapters: years of the synthetic horoscope after each other."""
    parts: list[Part] = []
    left, turn = chapters, 0
    while left > 0:
        for part in synthetic.horoscope().parts:
            kept = _cut(part, left, f"-y{turn}" if turn else "")
            if kept is None:
                break
            parts.append(kept)
            left -= len(kept.all_chapters())
        turn += 1
    return synthetic.horoscope(days=1).model_copy(update={"parts": tuple(parts)})


def _cut(part: Part, left: int, suffix: str) -> Part | None:
    """Return at most `left` chapters of a part under names that are not taken."""
    if left <= 0:
        return None
    lead = None if part.lead is None else _renamed(part.lead, suffix)
    room = left - (lead is not None)
    chapters = tuple(_renamed(chapter, suffix) for chapter in part.chapters[:room])
    return part.model_copy(update={"id": part.id + suffix, "lead": lead, "chapters": chapters})


def _renamed(chapter: Chapter, suffix: str) -> Chapter:
    if not suffix:
        return chapter
    days = tuple(
        day.model_copy(update={"target": day.target and day.target + suffix}) for day in chapter.days
    )
    return chapter.model_copy(update={"id": chapter.id + suffix, "days": days})


def _without_lost_targets(document: ReportDocument) -> ReportDocument:
    """Take away links to chapters that were cut off."""
    known = {chapter.id for chapter in document.all_chapters()}

    def mended(chapter: Chapter) -> Chapter:
        days = tuple(
            day if day.target in known else day.model_copy(update={"target": None})
            for day in chapter.days
        )
        return chapter.model_copy(update={"days": days})

    parts = tuple(
        part.model_copy(
            update={
                "lead": part.lead and mended(part.lead),
                "chapters": tuple(mended(chapter) for chapter in part.chapters),
            }
        )
        for part in document.parts
    )
    return document.model_copy(update={"parts": parts})


class Together:
    """Samples the memory of this process and its children; the largest sum is the peak."""

    def __init__(self) -> None:
        self.peak_kib = 0
        self._ended = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._ended.set()
            watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.peak_kib = max(self.peak_kib, memory_kib() + sum(map(_rss_kib, _children())))


def _children() -> list[str]:
    found: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += (task / "children").read_text().split()
        except OSError:
            continue
    return found


def _rss_kib(pid: str) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * resource.getpagesize() // 1024


def ours(folder: str, document: ReportDocument) -> dict[str, Any]:
    result = render_report(document, Path(folder) / "report.pdf", Path(folder) / "work")
    return {"pages": result.pages, "bytes": result.size}


def weasyprint(folder: str, document: ReportDocument) -> dict[str, Any]:
    """Render chunks of ten chapters as HTML and join them; a plainer page than ours."""
    from pypdf import PdfWriter
    from weasyprint import HTML

    chapters = document.all_chapters()
    writer = PdfWriter()
    for at in range(0, len(chapters), CHAPTERS_PER_CHUNK):
        path = Path(folder) / f"chunk-{at}.pdf"
        HTML(string=_html(chapters[at : at + CHAPTERS_PER_CHUNK])).write_pdf(path)
        writer.append(path)
    out = Path(folder) / "report.pdf"
    writer.write(out)
    return {"pages": len(writer.pages), "bytes": out.stat().st_size}


_STYLE = (
    "@page { size: A4; margin: 22mm 20mm; @bottom-center { content: counter(page) } }"
    "body { font-family: serif; font-size: 10.5pt; line-height: 1.45 }"
    "h1 { break-before: page; color: #4b3a86 } h2 { color: #a8853a }"
    ".qa { break-inside: avoid } .q { font-weight: bold }"
)


def _html(chapters: tuple[Chapter, ...]) -> str:
    parts = [f"<html lang='en'><head><style>{_STYLE}</style></head><body>"]
    for chapter in chapters:
        parts.append(f"<h1>{html.escape(chapter.title)}</h1><p>{html.escape(chapter.intro)}</p>")
        for section in chapter.sections:
            parts.append(f"<h2>{html.escape(section.title)}</h2>")
            parts += [
                f"<div class='qa'><p class='q'>{html.escape(each.question)}</p>"
                f"<p>{html.escape(each.answer)}</p></div>"
                for each in section.answers
            ]
    return "".join([*parts, "</body></html>"])


def measure(*, folder: str, work: str, chapters: int) -> dict[str, Any]:
    document = _without_lost_targets(document_of(chapters))
    assert len(document.all_chapters()) == chapters
    together = Together()
    own = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    with together.watching():
        found = {"ours": ours, "weasyprint": weasyprint}[work](folder, document)
    seconds = time.perf_counter() - began
    mine = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (
        mine.ru_utime
        + mine.ru_stime
        - own.ru_utime
        - own.ru_stime
        + children.ru_utime
        + children.ru_stime
    )
    return {
        **found,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "largest_kib": max(mine.ru_maxrss, children.ru_maxrss),
        "together_kib": together.peak_kib,
    }


if __name__ == "__main__":
    if sys.platform == "win32":
        raise SystemExit("needs /proc and resource usage")
    main(measure)
