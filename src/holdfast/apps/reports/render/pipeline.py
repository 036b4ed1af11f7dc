"""Render a report from end to end, every heavy step in a child process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from holdfast.apps.reports.render import chunks, glyphs
from holdfast.apps.reports.render.errors import (
    EXIT_RENDER_ERROR,
    CompileError,
    MergeError,
    RenderError,
)
from holdfast.apps.reports.render.jobs import Chunk, GlyphPlan, MergeResult

if TYPE_CHECKING:
    from holdfast.apps.reports.render.document import ReportDocument

STEP_SECONDS_MAX = 600
_BY_CODE = {kind.code: kind for kind in (CompileError, MergeError)}


StepRunner = Callable[..., dict[str, Any]]
"""Takes the name of a step and its arguments, and returns its result; all of them JSON values."""


class RenderResult(BaseModel):
    """A finished report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    pages: int
    size: int
    """In bytes."""
    sha256: str
    chunks: int
    notices: tuple[str, ...] = ()
    """Characters that could not be printed, and what would help; for the operator."""


def render_report(
    document: ReportDocument,
    out_path: str | Path,
    work_dir: str | Path,
    *,
    processes: int = 2,
    one_go_pages: int = chunks.ONE_GO_PAGES,
    chunk_pages: int = chunks.CHUNK_PAGES,
    run: StepRunner | None = None,
) -> RenderResult:
    """Write one report as a tagged PDF.

    The same document gives the same bytes.  Intermediate files stay in `work_dir`.

    Args:
        document: What to print.
        out_path: The PDF; it appears complete or not at all, on the file system of `work_dir`.
        work_dir: An existing or new folder that belongs to this report alone.
        processes: Child processes that typeset at the same time, each up to about 0.3 GB.
        one_go_pages: See `chunks.plan_chunks`.
        chunk_pages: See `chunks.plan_chunks`.
        run: Runs a step by name, from several threads; `run_step` when left out.

    Raises:
        MissingGlyphError: The name on the cover cannot be printed on this machine.
        CompileError: The typesetter refused the document or its process died.
        MergeError: The chunks do not fit together.
    """
    run = run or run_step
    folder, out = str(work_dir), str(out_path)
    Path(folder).mkdir(parents=True, exist_ok=True)
    characters = glyphs.document_characters(document)
    plan = GlyphPlan.model_validate(run("glyphs", characters=characters))
    glyphs.check_names(document, plan)
    planned = chunks.plan_chunks(document, one_go_pages=one_go_pages, chunk_pages=chunk_pages)
    for chunk in planned:
        chunks.write_chunk_input(document, chunk, folder, plan)
    common = {"work_dir": folder, "fonts": plan.fonts}
    if planned[0].is_whole:
        made = run("whole", chunk=planned[0].model_dump(mode="json"), out=out, **common)
    else:
        chunks.write_front_input(document, folder, plan)
        made = _render_chunks(planned, common, out, run, processes)
    result = MergeResult.model_validate(made)
    return RenderResult(
        path=result.path,
        pages=result.pages,
        size=result.size,
        sha256=result.sha256,
        chunks=len(planned),
        notices=glyphs.notices(plan),
    )


def _render_chunks(
    planned: list[Chunk], common: dict[str, str], out: str, run: StepRunner, processes: int
) -> dict[str, Any]:
    asked = [chunk.model_dump(mode="json") for chunk in planned]
    with ThreadPoolExecutor(processes) as pool:
        waiting = [pool.submit(run, "chunk", chunk=chunk, **common) for chunk in asked]
        bodies = [future.result() for future in waiting]
    page_map = run("front", bodies=bodies, **common)
    return run("merge", page_map=page_map, planned=asked, work_dir=common["work_dir"], out=out)


def run_step(name: str, **arguments: Any) -> dict[str, Any]:
    """Run one step of `steps` in a child process and return its result.

    Raises:
        RenderError: The step failed; the text is the step's own.
        CompileError: The process died or took longer than `STEP_SECONDS_MAX` seconds.
    """
    command = [sys.executable, "-m", "holdfast.apps.reports.render", name]
    try:
        done = subprocess.run(  # noqa: S603 – our own interpreter and module
            command,
            input=json.dumps(arguments),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=STEP_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"render step {name!r} was killed – it took over {STEP_SECONDS_MAX} s; cut smaller chunks"
        raise CompileError(msg) from error
    if done.returncode == EXIT_RENDER_ERROR:
        code, _, message = done.stderr.strip().partition(": ")
        raise _BY_CODE.get(code, RenderError)(message)
    if done.returncode != 0:
        msg = (
            f"render step {name!r} ended with status {done.returncode} – "
            f"a negative status is a signal, -9 is often a memory limit; {done.stderr[-400:]}"
        )
        raise CompileError(msg)
    result: dict[str, Any] = json.loads(done.stdout)
    return result
