"""The render steps as functions of JSON values, for a durable engine or a bare child process.

Each may run twice, and leaves its result in the work directory.  In order: `glyphs_step`; then
either `whole_step`, or `chunk_step` for every chunk in any order and in parallel, `front_step`
and `merge_step`.  Planning and writing the inputs (`chunks`) need the document and
little time, so they have no step here.

`python -m holdfast.apps.reports.render NAME` reads the arguments as a JSON object on stdin
and prints the result as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.apps.reports.render import chunks
from holdfast.apps.reports.render.errors import EXIT_RENDER_ERROR, RenderError
from holdfast.apps.reports.render.glyphs import plan_glyphs
from holdfast.apps.reports.render.jobs import Body, Chunk, CompileResult, FontSet, MergeJob, PageMap
from holdfast.apps.reports.render.merge import describe, merge

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_FOLIO = 2
"""The cover carries no page number."""

Json = dict[str, Any]


def glyphs_step(characters: str) -> Json:
    """Choose the fonts for a text; see `glyphs.plan_glyphs`."""
    return plan_glyphs(characters).model_dump(mode="json")


def whole_step(chunk: Json, work_dir: str, fonts: FontSet, out: str) -> Json:
    """Typeset a report that fits into one chunk, straight into the finished file."""
    result = chunks.compile_chunk(Chunk.model_validate(chunk), work_dir, fonts)
    Path(result.path).replace(out)
    return describe(out, result.pages, 0).model_dump(mode="json")


def chunk_step(chunk: Json, work_dir: str, fonts: FontSet) -> Json:
    """Typeset one chunk."""
    result = chunks.compile_chunk(Chunk.model_validate(chunk), work_dir, fonts)
    return result.model_dump(mode="json")


def front_step(bodies: list[Json], work_dir: str, fonts: FontSet) -> Json:
    """Typeset front matter and page numbers when all chunks are there; returns the page map."""
    results = [CompileResult.model_validate(body) for body in bodies]
    page_map = chunks.compile_front(work_dir, results, fonts)
    chunks.compile_folios(work_dir, page_map, FIRST_FOLIO, fonts)
    return page_map.model_dump(mode="json")


def merge_step(page_map: Json, planned: list[Json], work_dir: str, out: str) -> Json:
    """Join front matter, chunks (in reading order) and folios into the finished file."""
    folder = Path(work_dir)
    found = [Chunk.model_validate(chunk) for chunk in planned]
    bodies = [
        Body(
            path=str(folder / f"{chunk.name}.pdf"),
            adopted=len(chunk.slices[0].chapters) if chunk.slices[0].continued else 0,
        )
        for chunk in found
    ]
    job = MergeJob(
        front=str(folder / "front.pdf"),
        bodies=tuple(bodies),
        folios=str(folder / "folios.pdf"),
        first_folio=FIRST_FOLIO,
        page_map=PageMap.model_validate(page_map),
        out=out,
    )
    return merge(job).model_dump(mode="json")


STEPS: dict[str, Callable[..., Json]] = {
    "glyphs": glyphs_step,
    "whole": whole_step,
    "chunk": chunk_step,
    "front": front_step,
    "merge": merge_step,
}


def main(name: str) -> int:
    """Serve one step; exit status `EXIT_RENDER_ERROR` and the reason on stderr when it fails."""
    try:
        result = STEPS[name](**json.load(sys.stdin))
    except RenderError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return EXIT_RENDER_ERROR
    json.dump(result, sys.stdout)
    return 0
