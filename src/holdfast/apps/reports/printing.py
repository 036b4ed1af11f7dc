"""Print a document inside a job: every run of the typesetter is a durable step in a child process.

A finished step is remembered for ever, but the file it made lives on the disk of one machine.
Where a file is missing, a job that has moved to another machine prints another edition under new
step names, `print-2/…` after `print-1/…`: the same document gives the same bytes.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from holdfast.apps.reports.render import chunks, glyphs, steps
from holdfast.apps.reports.render.document import Chapter, Part, ReportDocument
from holdfast.apps.reports.render.jobs import Chunk, FontSet, GlyphPlan, MergeResult
from holdfast.engine.context import JobContext
from holdfast.model import Isolation

TYPESETTING: Final = Isolation(memory_bytes=1536 * 1024**2, timeout=timedelta(minutes=10))
"""Limits of one run; a chunk of a month uses about a fifth of the memory."""
PROCESSES: Final = 2
"""Chunks typeset at the same time."""
PAGE_WEIGHT: Final = 30.0
"""How much of the progress a printed page is, in words written."""


class ChunkTask(BaseModel):
    """One chunk to typeset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk: Chunk
    work_dir: str
    fonts: FontSet


class Printed(BaseModel):
    """A finished file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pdf: MergeResult
    notices: tuple[str, ...]


async def check_cover(job: JobContext, name: str) -> None:
    """Fail before anything is paid for if the cover could not show the name.

    Raises:
        MissingGlyphError: No font on this machine has one of its letters.
    """
    found = await job.step("check-name", steps.glyphs_step, name, isolate=TYPESETTING)
    cover = ReportDocument(
        title="-",
        person=name,
        issued=date.min,
        parts=(Part(id="part", title="-", lead=Chapter(id="only", kind="section", title="-")),),
    )
    glyphs.check_names(cover, GlyphPlan.model_validate(found))


async def print_document(job: JobContext, document: ReportDocument, folder: Path) -> Printed:
    """Print a document to a file in `folder`, which belongs to this job.

    Raises:
        MissingGlyphError: The cover has letters that no font on this machine can print.
        StepFailedError: The typesetter refused the document or passed its limits for good.
    """
    characters = await asyncio.to_thread(glyphs.document_characters, document)
    found = await job.step("glyphs", steps.glyphs_step, characters, isolate=TYPESETTING)
    plan = GlyphPlan.model_validate(found)
    glyphs.check_names(document, plan)
    await job.step("open-folder", make_folder, str(folder), undo=remove_folder)
    planned = await asyncio.to_thread(_lay_out, document, plan, folder)
    press = _Press(job, planned, folder, plan.fonts)
    pdf, editions = None, count(1)
    while pdf is None:
        pdf = await press.print(f"print-{next(editions)}")
    return Printed(pdf=pdf, notices=glyphs.notices(plan))


def make_folder(folder: str) -> None:
    """Create the work directory, readable for nobody else: it holds what the customer bought."""
    Path(folder).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(folder).mkdir(mode=0o700, exist_ok=True)


def remove_folder(folder: str) -> None:
    """Remove the work directory; nothing happens if it is gone already."""
    shutil.rmtree(folder, ignore_errors=True)


def typeset_chunk(task: ChunkTask) -> dict[str, Any]:
    """Typeset one chunk; runs in a child process."""
    return steps.chunk_step(task.chunk.model_dump(mode="json"), task.work_dir, task.fonts)


def _lay_out(document: ReportDocument, plan: GlyphPlan, folder: Path) -> list[Chunk]:
    """Write what the typesetter reads; again in every attempt, as it may be another machine."""
    make_folder(str(folder))
    planned = chunks.plan_chunks(document)
    for chunk in planned:
        chunks.write_chunk_input(document, chunk, str(folder), plan)
    if not planned[0].is_whole:
        chunks.write_front_input(document, str(folder), plan)
    return planned


class _Press:
    """Runs the typesetter over what was laid out."""

    def __init__(self, job: JobContext, planned: Sequence[Chunk], folder: Path, fonts: FontSet) -> None:
        self._job = job
        self._planned = planned
        self._folder = folder
        self._fonts: FontSet = fonts

    async def print(self, edition: str) -> MergeResult | None:
        """Return the finished file, or None if a file of this edition is on another machine."""
        if self._planned[0].is_whole:
            return await self._print_whole(edition)
        bodies = await self._job.map(
            edition,
            [
                ChunkTask(chunk=chunk, work_dir=str(self._folder), fonts=self._fonts)
                for chunk in self._planned
            ],
            typeset_chunk,
            key=lambda task: task.chunk.name,
            weight=lambda task: task.chunk.pages_estimate * PAGE_WEIGHT,
            label=lambda task: (
                f"Printing, part {self._planned.index(task.chunk) + 1} of {len(self._planned)}"
            ),
            concurrency=PROCESSES,
            isolate=TYPESETTING,
        )
        if not self._has(*(f"{chunk.name}.pdf" for chunk in self._planned)):
            return None
        page_map = await self._step(
            f"{edition}/front", steps.front_step, bodies, str(self._folder), self._fonts
        )
        if not self._has("front.pdf", "folios.pdf"):
            return None
        asked = [chunk.model_dump(mode="json") for chunk in self._planned]
        return self._finished(
            await self._step(f"{edition}/merge", steps.merge_step, page_map, asked, *self._places)
        )

    async def _print_whole(self, edition: str) -> MergeResult | None:
        chunk = self._planned[0].model_dump(mode="json")
        folder, out = self._places
        return self._finished(
            await self._step(f"{edition}/whole", steps.whole_step, chunk, folder, self._fonts, out)
        )

    @property
    def _places(self) -> tuple[str, str]:
        return str(self._folder), str(self._folder / "report.pdf")

    async def _step(self, key: str, function: Any, *arguments: Any) -> dict[str, Any]:
        result: dict[str, Any] = await self._job.step(key, function, *arguments, isolate=TYPESETTING)
        return result

    def _finished(self, made: dict[str, Any]) -> MergeResult | None:
        # The step may have run under another base folder; the file is looked for in this one.
        result = MergeResult.model_validate({**made, "path": self._places[1]})
        return result if self._has("report.pdf") else None

    def _has(self, *names: str) -> bool:
        return all((self._folder / name).exists() for name in names)
