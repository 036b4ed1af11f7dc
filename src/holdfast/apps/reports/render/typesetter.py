"""Run the typesetter once.

The typesetter does not give memory back, so a long report is made by short-lived processes; see
`compile` and `steps`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pikepdf
import typst

from holdfast.apps.reports.render.errors import CompileError
from holdfast.apps.reports.render.jobs import CompileJob, CompileResult

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATES = Path(__file__).parent / "templates"
FONTS = Path(__file__).parent / "fonts"


def compile_pdf(job: CompileJob) -> CompileResult:
    """Typeset one document and write it to `job.out_path`.

    The same job gives the same bytes (with `fonts="system"`: on the same machine).  The file
    appears complete or not at all, so the job may run twice.

    Args:
        job: What to print and where to.

    Raises:
        CompileError: The typesetter refused the document, for example for a missing glyph.
    """
    document = Path(job.document_path).read_text(encoding="utf-8")
    content = typeset(job, document)
    out = Path(job.out_path)
    draft = out.with_suffix(".part")
    draft.write_bytes(content)
    draft.replace(out)
    with pikepdf.open(out) as pdf:
        pages = {page.objgen: index for index, page in enumerate(pdf.pages)}
        anchors = {name: pages[dest[0].objgen] for name, dest in named_destinations(pdf)}
        return CompileResult(path=str(out), pages=len(pages), anchors=anchors)


def typeset(job: CompileJob, document: str) -> bytes:
    """Return the PDF of one document given as JSON text.

    Raises:
        CompileError: See `compile_pdf`; the text is the typesetter's own diagnostic.
    """
    inputs = {**job.inputs, "document": document, "fonts": job.fonts}
    fonts = typst.Fonts(
        include_system_fonts=job.fonts == "system",
        include_embedded_fonts=True,
        font_paths=[] if job.fonts == "latin" else [str(FONTS)],
    )
    try:
        return typst.compile(
            str(TEMPLATES / f"{job.template}.typ"),
            root=str(TEMPLATES),
            font_paths=fonts,
            sys_inputs=inputs,
            pdf_standards=list(job.standards),
            timestamp=0,
        )
    except typst.TypstError as error:
        diagnostic = getattr(error, "diagnostic", None) or str(error)
        msg = (
            f"template {job.template!r} could not be typeset for {job.out_path!r} – "
            f"the typesetter says:\n{diagnostic}"
        )
        raise CompileError(msg) from error


def named_destinations(pdf: pikepdf.Pdf) -> Iterator[tuple[str, Any]]:
    """Yield the names that a link can point to, with their destination arrays."""
    tree = pdf.Root.get("/Names", pikepdf.Dictionary()).get("/Dests")
    if tree is not None:
        yield from ((as_text(name), dest) for name, dest in pikepdf.NameTree(tree).items())


def as_text(name: str | bytes) -> str:
    """Return a PDF string, which may arrive undecoded, as text."""
    return name if isinstance(name, str) else name.decode("latin-1")
