"""What the render steps pass to each other: small frozen models, all of them plain JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

FontSet = Literal["latin", "world", "system"]
"""`latin`: the typesetter's own fonts; `world`: plus the shipped Noto subsets; `system`: plus
whatever this machine has installed (then two machines may give different bytes)."""
Template = Literal["report", "folios", "probe"]
Standard = Literal["a-2a", "ua-1"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CompileJob(_Model):
    """One run of the typesetter."""

    template: Template
    document_path: str
    """JSON file that the template reads; it goes in as values, never as markup."""
    out_path: str
    inputs: dict[str, str] = {}
    fonts: FontSet = "latin"
    standards: tuple[Standard, ...] = ("a-2a", "ua-1")


class CompileResult(_Model):
    """A written PDF file."""

    path: str
    pages: int
    anchors: dict[str, int]
    """Chapter and part ids with the index of their page in this file, from 0."""


class PartSlice(_Model):
    """Consecutive chapters of one part."""

    part: str
    chapters: tuple[str, ...]
    continued: bool = False
    """True when an earlier chunk holds the beginning of the part."""


class Chunk(_Model):
    """What one run of the typesetter prints."""

    name: str
    """Stem of the chunk's files; `whole` for a report that is printed in one go."""
    slices: tuple[PartSlice, ...]
    closing: bool
    """True for the last chunk, which prints the closing page."""
    pages_estimate: int

    @property
    def is_whole(self) -> bool:
        """Tell whether this is the only chunk, with front matter and page numbers."""
        return self.name == "whole"


class PageMap(_Model):
    """Where everything is in the finished report; pages count from 1 at the cover."""

    total: int
    chunk_pages: tuple[int, ...]
    """Pages of the front matter, then of every chunk."""
    pages: dict[str, int]
    """Page of every chapter and part id."""


class GlyphPlan(_Model):
    """Which fonts to use and which characters no font can print."""

    fonts: FontSet = "latin"
    missing: str = ""


class Body(_Model):
    """One typeset chunk on its way into the report."""

    path: str
    adopted: int = 0
    """How many of its first bookmarks belong under the part that the chunk before began."""


class MergeJob(_Model):
    """What becomes one file."""

    front: str
    bodies: tuple[Body, ...]
    """In reading order."""
    folios: str
    first_folio: int
    """Page of the report, from 1, that the first page of the folio sheet belongs to."""
    page_map: PageMap
    """The plan that contents and folios were made with."""
    out: str


class MergeResult(_Model):
    """The finished file."""

    path: str
    pages: int
    size: int
    """In bytes."""
    sha256: str
    links: int
    """Links between chunks that were resolved."""
