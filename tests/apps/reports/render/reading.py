"""Read a finished report the way a checker or a reader's program would."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pikepdf


def pages_text(path: str | Path) -> list[str]:
    """Return the text of every page, without soft hyphens and with single spaces."""
    done = subprocess.run(
        ["pdftotext", "-raw", str(path), "-"], capture_output=True, text=True, check=True
    )
    pages = done.stdout.split("\f")[:-1]
    return [re.sub(r"\s+", " ", page.replace("\u00ad\n", "").replace("\u00ad", "")) for page in pages]


def structure(path: str | Path) -> Counter[str]:
    """Count the structure elements by type."""
    found: Counter[str] = Counter()
    with pikepdf.open(path) as pdf:
        todo: list[Any] = [pdf.Root.StructTreeRoot.K]
        while todo:
            node = todo.pop()
            if isinstance(node, pikepdf.Array):
                todo.extend(node)
            elif isinstance(node, pikepdf.Dictionary):
                if "/S" in node:
                    found[str(node.S)] += 1
                if "/K" in node:
                    todo.append(node.K)
    return found


def destinations(path: str | Path) -> dict[str, int]:
    """Return named destinations with page numbers from 1."""
    with pikepdf.open(path) as pdf:
        numbers = _numbers(pdf)
        tree = pikepdf.NameTree(pdf.Root.Names.Dests)
        return {str(name): numbers[dest[0].objgen] for name, dest in tree.items()}


def link_pages(path: str | Path) -> list[tuple[int, int]]:
    """Return (page of the link, page it leads to) for all links; a dangling one raises."""
    found = []
    with pikepdf.open(path) as pdf:
        numbers = _numbers(pdf)
        named = dict(pikepdf.NameTree(pdf.Root.Names.Dests).items())
        for number, page in enumerate(pdf.pages, start=1):
            for link in page.get("/Annots", ()):
                dest = link.get("/Dest") or link.A.D
                if isinstance(dest, pikepdf.String):
                    dest = named[str(dest)]
                found.append((number, numbers[dest[0].objgen]))
    return found


def outline(path: str | Path) -> list[tuple[int, str, int]]:
    """Return (depth, title, page from 1) for every bookmark."""
    found: list[tuple[int, str, int]] = []
    with pikepdf.open(path) as pdf, pdf.open_outline() as tree:
        numbers = _numbers(pdf)

        def walk(items: list[pikepdf.OutlineItem], depth: int) -> None:
            for item in items:
                dest: Any = item.destination
                found.append((depth, item.title, numbers[dest[0].objgen]))
                walk(item.children, depth + 1)

        walk(list(tree.root), 0)
    return found


def unembedded_fonts(path: str | Path) -> list[str]:
    """Return the fonts that the file names but does not carry."""
    with pikepdf.open(path) as pdf:
        descriptors = [
            item
            for item in pdf.objects
            if isinstance(item, pikepdf.Dictionary) and item.get("/Type") == pikepdf.Name.FontDescriptor
        ]
        return [
            str(item.FontName)
            for item in descriptors
            if not {"/FontFile", "/FontFile2", "/FontFile3"} & set(item.keys())
        ]


def broken_parents(path: str | Path) -> list[str]:
    """Return what is wrong between pages and parent tree; an empty list when nothing is."""
    wrong = []
    with pikepdf.open(path) as pdf:
        parents = dict(pikepdf.NumberTree(pdf.Root.StructTreeRoot.ParentTree).items())
        pages = _numbers(pdf)
        for number, page in enumerate(pdf.pages, start=1):
            elements = parents[int(page.StructParents)] if "/StructParents" in page else ()
            strays = [e for e in elements if "/Pg" in e and e.Pg.objgen not in pages]
            orphans = [a for a in page.get("/Annots", ()) if int(a.StructParent) not in parents]
            if strays or orphans:
                wrong.append(f"page {number}: {len(strays)} stray elements, {len(orphans)} orphan links")
    return wrong


def _numbers(pdf: pikepdf.Pdf) -> dict[Any, int]:
    return {page.objgen: number for number, page in enumerate(pdf.pages, start=1)}
