"""Join front matter, chunks and folios into one tagged PDF.

Pages, bookmarks, the structure tree with its parent tree and ids, named destinations and links
between chunks become what one run of the typesetter would have written.  Page contents stay in
the chunk files until they are copied into the result, so memory grows with the number of
structure elements, not with the text.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pikepdf
from pikepdf import Array, Dictionary, Name, NameTree, NumberTree, String

from holdfast.apps.reports.render.errors import MergeError
from holdfast.apps.reports.render.jobs import MergeJob, MergeResult
from holdfast.apps.reports.render.typesetter import as_text, named_destinations

if TYPE_CHECKING:
    from collections.abc import Iterator

LINK_SCHEME = "doc:"
"""A chunk's link to a chapter by its id; it becomes a link to the chapter's page."""


def merge(job: MergeJob) -> MergeResult:
    """Write the finished report to `job.out`, where it appears complete or not at all.

    Args:
        job: Files of exactly the page counts in the job's page map.

    Raises:
        MergeError: A file does not have the pages of the plan, or a link has no target.
    """
    counts = job.page_map.chunk_pages
    with ExitStack() as stack:
        report = stack.enter_context(pikepdf.open(job.front))
        join = _Join(report)
        _expect_pages(job.front, report, counts[0])
        for body, expected in zip(job.bodies, counts[1:], strict=True):
            chunk = stack.enter_context(pikepdf.open(body.path))
            _expect_pages(body.path, chunk, expected)
            join.add(chunk, body.adopted)
        join.finish()
        sheet = stack.enter_context(pikepdf.open(job.folios))
        _expect_pages(job.folios, sheet, job.page_map.total - job.first_folio + 1)
        _stamp(report, sheet, job.first_folio - 1)
        links = _resolve_links(report, join.destinations)
        draft = Path(job.out).with_suffix(".part")
        report.save(
            draft,
            object_stream_mode=pikepdf.ObjectStreamMode.generate,
            deterministic_id=True,
            fix_metadata_version=False,
        )
    draft.replace(job.out)
    return describe(job.out, job.page_map.total, links)


def describe(path: str, pages: int, links: int) -> MergeResult:
    """Return size and hash of a finished report."""
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = Path(path).stat().st_size
    return MergeResult(path=path, pages=pages, size=size, sha256=digest, links=links)


def _expect_pages(path: str, pdf: pikepdf.Pdf, expected: int) -> None:
    found = len(pdf.pages)
    if found != expected:
        msg = f"{path!r} has {found} pages, the page map says {expected} – number the pages again"
        raise MergeError(msg)


class _Join:
    """The report while it grows chunk by chunk."""

    def __init__(self, report: pikepdf.Pdf) -> None:
        self.report = report
        self.destinations = dict(named_destinations(report))
        tree = report.Root.StructTreeRoot
        self._document = _document_element(tree)
        self._children = list(_items(self._document.K))
        self._parents = dict(NumberTree(tree.ParentTree).items())
        self._ids = _ids(tree)
        self._bookmarks = _bookmarks(report)
        self._chunks = 0

    def add(self, chunk: pikepdf.Pdf, adopted: int) -> None:
        """Append the pages of one chunk and everything that hangs on them.

        Args:
            chunk: An open file; it must stay open until the report is saved.
            adopted: See `jobs.Body.adopted`.
        """
        self._chunks += 1
        shift = max(self._parents, default=-1) + 1
        for page in chunk.pages:
            if "/StructParents" in page:
                page.StructParents = int(page.StructParents) + shift
            for link in page.get("/Annots", ()):
                if "/StructParent" in link:
                    link.StructParent = int(link.StructParent) + shift
        base = len(self.report.pages)
        # Pages first: the copy of the tree then refers to them instead of dropping them.
        self.report.pages.extend(chunk.pages)
        tree = self.report.copy_foreign(chunk.Root.StructTreeRoot)
        for child in _items(_document_element(tree).K):
            child.P = self._document
            self._children.append(child)
        for key, value in NumberTree(tree.ParentTree).items():
            self._parents[key + shift] = value
        for name, element in _ids(tree).items():
            unique = f"{self._chunks}-{name}"
            element.ID = String(unique)
            self._ids[unique] = element
        pages = {
            page.objgen: self.report.pages[base + index].obj for index, page in enumerate(chunk.pages)
        }
        for name, dest in named_destinations(chunk):
            self.destinations[name] = _moved(dest, pages[dest[0].objgen])
        moved = [bookmark.moved(pages) for bookmark in _bookmarks(chunk)]
        if adopted:
            self._bookmarks[-1].children.extend(moved[:adopted])
        self._bookmarks += moved[adopted:]

    def finish(self) -> None:
        """Write the joined trees and bookmarks into the report."""
        report, tree = self.report, self.report.Root.StructTreeRoot
        self._document.K = Array(self._children)
        numbers = Array()
        for key in sorted(self._parents):
            numbers.append(key)
            numbers.append(self._parents[key])
        tree.ParentTree = report.make_indirect(Dictionary(Nums=numbers))
        tree.ParentTreeNextKey = max(self._parents, default=-1) + 1
        if self._ids:
            tree.IDTree = _names(report, self._ids)
        report.Root.Names = Dictionary(Dests=_names(report, self.destinations))
        with report.open_outline() as outline:
            outline.root[:] = [bookmark.write() for bookmark in self._bookmarks]


def _document_element(tree: Any) -> Any:
    elements = list(_items(tree.K))
    if len(elements) != 1 or elements[0].get("/S") != Name.Document:
        msg = f"a chunk's structure tree has {len(elements)} roots, not one Document – compile it tagged"
        raise MergeError(msg)
    return elements[0]


def _items(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, Array) else (value,)


def _ids(tree: Any) -> dict[str, Any]:
    if "/IDTree" not in tree:
        return {}
    return {as_text(name): element for name, element in NameTree(tree.IDTree).items()}


def _names(report: pikepdf.Pdf, entries: dict[str, Any]) -> Any:
    names = Array()
    for name in sorted(entries):
        names.append(String(name))
        names.append(entries[name])
    return report.make_indirect(Dictionary(Names=names))


def _moved(dest: Any, page: Any) -> Array:
    return Array([page, *list(dest)[1:]])


@dataclass(frozen=True)
class _Bookmark:
    """A bookmark of one file; `dest` is a destination array."""

    title: str
    dest: Any
    children: list[_Bookmark]

    @classmethod
    def read(cls, item: pikepdf.OutlineItem) -> _Bookmark:
        return cls(item.title, item.destination, [cls.read(child) for child in item.children])

    def moved(self, pages: dict[Any, Any]) -> _Bookmark:
        """Return the bookmark with its destination among the pages of the report."""
        children = [child.moved(pages) for child in self.children]
        return _Bookmark(self.title, _moved(self.dest, pages[self.dest[0].objgen]), children)

    def write(self) -> pikepdf.OutlineItem:
        item = pikepdf.OutlineItem(self.title, self.dest)
        item.children = [child.write() for child in self.children]
        item.is_closed = True
        return item


def _bookmarks(pdf: pikepdf.Pdf) -> list[_Bookmark]:
    with pdf.open_outline() as outline:
        return [_Bookmark.read(item) for item in outline.root]


def _stamp(report: pikepdf.Pdf, sheet: pikepdf.Pdf, skipped: int) -> None:
    """Lay the sheet's pages over the report's, after the first `skipped` ones."""
    before = report.make_stream(b"q ")
    after = report.make_stream(b" Q q /Folio Do Q")
    for index, folio in enumerate(sheet.pages):
        page = report.pages[skipped + index]
        drawing = report.copy_foreign(folio.as_form_xobject())
        page.add_resource(drawing, Name.XObject, Name.Folio)
        page.Contents = Array([before, *_items(page.Contents), after])


def _resolve_links(report: pikepdf.Pdf, destinations: dict[str, Any]) -> int:
    resolved = 0
    for page in report.pages:
        for link in page.get("/Annots", ()):
            action = link.get("/A")
            if action is None or action.get("/S") != Name.URI:
                continue
            uri = str(action.URI)
            if not uri.startswith(LINK_SCHEME):
                continue
            target = destinations.get(uri.removeprefix(LINK_SCHEME))
            if target is None:
                msg = f"link {uri!r} has no target – no chunk holds a chapter with this id"
                raise MergeError(msg)
            del link["/A"]
            link.Dest = target
            resolved += 1
    return resolved
