"""Split a long report into chunks that are typeset apart and numbered afterwards.

Every chunk is typeset exactly once, in any order, in parallel, and before later chapters are even
written: nothing in it depends on its page numbers.  Numbers come at the end: the contents are
typeset when all page counts are known, and a sheet of folios ("142 of 1720") is laid over the
pages during the merge.
"""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.apps.reports.render.errors import MergeError
from holdfast.apps.reports.render.glyphs import replace_missing
from holdfast.apps.reports.render.jobs import (
    Chunk,
    CompileJob,
    CompileResult,
    FontSet,
    GlyphPlan,
    PageMap,
    PartSlice,
)
from holdfast.apps.reports.render.typesetter import compile_pdf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.apps.reports.render.document import Chapter, Part, ReportDocument

ONE_GO_PAGES = 180
"""Up to this estimate a report is typeset in one go, in about 0.35 GB at the most."""
CHUNK_PAGES = 170
"""A chunk ends before this estimate: a month of the horoscope, about 0.25 GB."""
LINES_PER_PAGE = 58
CHARACTERS_PER_LINE = 74
NOMINAL_ANSWER_CHARACTERS = 720
_FRONT_TRIES = 4


def estimate_pages(chapter: Chapter) -> float:
    """Return about how many pages a chapter fills.

    An answer that is still empty counts as 115 words, so that a plan can be made from a skeleton
    before anything is written.
    """
    lines = 14.0 if chapter.kind != "monthly" else LINES_PER_PAGE
    texts = [text for section in chapter.sections for text in section.prose]
    for section in chapter.sections:
        texts += [answer.answer or "x" * NOMINAL_ANSWER_CHARACTERS for answer in section.answers]
    lines += sum(1.4 + max(2, len(text) / CHARACTERS_PER_LINE) for text in texts)
    return max(1.0, lines / LINES_PER_PAGE)


def plan_chunks(
    document: ReportDocument,
    *,
    one_go_pages: int = ONE_GO_PAGES,
    chunk_pages: int = CHUNK_PAGES,
) -> list[Chunk]:
    """Decide what is typeset together.

    A report of at most `one_go_pages` is one chunk named `whole`.  A longer one is cut between
    parts, and inside a part only when the part alone exceeds `chunk_pages`.

    Args:
        document: The report, or its skeleton with empty answers.
        one_go_pages: Estimated pages up to which no chunk is cut; 0 always cuts.
        chunk_pages: Estimated pages at which a chunk is full.
    """
    estimate = sum(estimate_pages(chapter) for chapter in document.all_chapters())
    pieces = [piece for part in document.parts for piece in _slices(part, chunk_pages)]
    if estimate <= one_go_pages:
        groups = [pieces]
    else:
        groups = _group(pieces, chunk_pages)
    chunks = []
    for index, group in enumerate(groups):
        chunks.append(
            Chunk(
                name="whole" if estimate <= one_go_pages else f"body-{index:03d}",
                slices=tuple(piece for piece, _ in group),
                closing=index == len(groups) - 1,
                pages_estimate=round(sum(pages for _, pages in group)),
            )
        )
    return chunks


def _slices(part: Part, limit: int) -> list[tuple[PartSlice, float]]:
    found: list[tuple[PartSlice, float]] = []
    names: list[str] = []
    size = 0.0
    for chapter in part.all_chapters():
        pages = estimate_pages(chapter)
        if names and size + pages > limit:
            piece = PartSlice(part=part.id, chapters=tuple(names), continued=bool(found))
            found.append((piece, size))
            names, size = [], 0.0
        names.append(chapter.id)
        size += pages
    found.append((PartSlice(part=part.id, chapters=tuple(names), continued=bool(found)), size))
    return found


def _group(pieces: list[tuple[PartSlice, float]], limit: int) -> list[list[tuple[PartSlice, float]]]:
    groups: list[list[tuple[PartSlice, float]]] = [[]]
    for piece, pages in pieces:
        if groups[-1] and sum(size for _, size in groups[-1]) + pages > limit:
            groups.append([])
        groups[-1].append((piece, pages))
    return groups


def write_chunk_input(document: ReportDocument, chunk: Chunk, work_dir: str, glyphs: GlyphPlan) -> str:
    """Write the JSON file that one chunk is typeset from and return its path.

    The document needs the chapters of this chunk only; later ones may still be missing.

    Raises:
        MergeError: The document lacks a part or chapter of the chunk.
    """
    parts = {part.id: part for part in document.parts}
    content = document.model_dump(mode="json", exclude={"parts", "numerology", "natal"})
    if chunk.is_whole:
        content = document.model_dump(mode="json", exclude={"parts"})
    try:
        content["parts"] = [_part_content(parts[piece.part], piece) for piece in chunk.slices]
    except KeyError as error:
        msg = f"chunk {chunk.name!r} asks for {error.args[0]!r} – it is not in the document; plan again"
        raise MergeError(msg) from error
    if not chunk.closing:
        content["closing"] = None
    return _write_json(work_dir, chunk.name, replace_missing(content, glyphs))


def write_front_input(document: ReportDocument, work_dir: str, glyphs: GlyphPlan) -> str:
    """Write the JSON file of cover, contents, natal chart and numerology; return its path."""
    chapter_fields = {"id", "kind", "title", "eyebrow", "date"}
    content = document.model_dump(mode="json", exclude={"parts"})
    content["parts"] = [
        {
            "id": part.id,
            "title": part.title,
            "lead": part.lead and part.lead.model_dump(mode="json", include=chapter_fields),
            "chapters": [c.model_dump(mode="json", include=chapter_fields) for c in part.chapters],
        }
        for part in document.parts
    ]
    return _write_json(work_dir, "front", replace_missing(content, glyphs))


def _part_content(part: Part, piece: PartSlice) -> dict[str, Any]:
    chapters = {chapter.id: chapter for chapter in part.all_chapters()}
    wanted = [chapters[name] for name in piece.chapters]
    has_lead = part.lead is not None and wanted[0].id == part.lead.id
    return {
        "id": part.id,
        "title": part.title,
        "intro": part.intro,
        "continued": piece.continued,
        "lead": wanted[0].model_dump(mode="json") if has_lead else None,
        "chapters": [chapter.model_dump(mode="json") for chapter in wanted[has_lead:]],
    }


def _write_json(work_dir: str, name: str, content: object) -> str:
    path = Path(work_dir) / f"{name}.json"
    draft = path.with_suffix(".json.part")
    draft.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    draft.replace(path)
    return str(path)


def compile_chunk(chunk: Chunk, work_dir: str, fonts: FontSet) -> CompileResult:
    """Typeset one chunk whose input file has been written.

    Raises:
        CompileError: See `typesetter.compile_pdf`.
    """
    # PDF/UA wants a first heading of level 1; a chunk that continues a part begins at level 2.
    # The finished report has the levels right, and its own PDF/UA mark.
    continued = chunk.slices[0].continued
    return compile_pdf(
        CompileJob(
            template="report",
            document_path=str(Path(work_dir) / f"{chunk.name}.json"),
            out_path=str(Path(work_dir) / f"{chunk.name}.pdf"),
            inputs={"mode": "all" if chunk.is_whole else "body"},
            fonts=fonts,
            standards=("a-2a",) if continued else ("a-2a", "ua-1"),
        )
    )


def number_pages(front: CompileResult, bodies: Sequence[CompileResult]) -> PageMap:
    """Compute the page of every chapter from the page counts of front matter and chunks."""
    counts = [front.pages, *(body.pages for body in bodies)]
    starts = [0, *accumulate(counts)]
    pages = {
        name: start + index + 1
        for start, result in zip(starts, (front, *bodies), strict=False)
        for name, index in result.anchors.items()
    }
    return PageMap(total=starts[-1], chunk_pages=tuple(counts), pages=pages)


def compile_front(work_dir: str, bodies: Sequence[CompileResult], fonts: FontSet) -> PageMap:
    """Typeset the front matter with the right page numbers in its contents.

    The first try only counts the front matter's own pages.

    Raises:
        MergeError: The page count never settled.
    """
    known: dict[str, int] = {}
    for _ in range(_FRONT_TRIES):
        front = compile_pdf(
            CompileJob(
                template="report",
                document_path=str(Path(work_dir) / "front.json"),
                out_path=str(Path(work_dir) / "front.pdf"),
                inputs={"mode": "front", "pages": json.dumps(known)},
                fonts=fonts,
            )
        )
        page_map = number_pages(front, bodies)
        if page_map.pages == known:
            return page_map
        known = page_map.pages
    msg = f"front matter never settled in {_FRONT_TRIES} tries – shorten the longest contents entry"
    raise MergeError(msg)


def compile_folios(work_dir: str, page_map: PageMap, first: int, fonts: FontSet) -> CompileResult:
    """Typeset the sheet of page numbers from page `first` to the end."""
    return compile_pdf(
        CompileJob(
            template="folios",
            document_path=str(Path(work_dir) / "front.json"),
            out_path=str(Path(work_dir) / "folios.pdf"),
            inputs={"first": str(first), "last": str(page_map.total), "total": str(page_map.total)},
            fonts=fonts,
        )
    )
