"""Find out before typesetting which characters no font can print, and what happens to them.

A missing glyph is never an empty box:

1. The typesetter's own Libertinus Serif prints Latin, Greek, Cyrillic, Hebrew and the planets.
2. If that is not enough, the shipped Noto subsets are loaded: Arabic, Indic scripts,
   Thai, Khmer, Lao, Myanmar, Georgian, Armenian, Ethiopic and the everyday CJK characters.
3. If that is not enough, the fonts installed on this machine are loaded as well.
4. What is left is taken out (emoji and other symbols, invisible characters) or printed as
   U+FFFD, the sign for a character that cannot be shown; the result tells which ones.
   Letters in the person's name or the title are never replaced: `MissingGlyphError` names the
   package to install.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from holdfast.apps.reports.render.errors import CompileError, MissingGlyphError
from holdfast.apps.reports.render.jobs import CompileJob, FontSet, GlyphPlan
from holdfast.apps.reports.render.typesetter import typeset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.apps.reports.render.document import ReportDocument

REPLACEMENT = "\ufffd"
_REPORTED = re.compile(r'the text `"(.+?)"` could not be displayed')
_ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}")
_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")


def document_characters(document: ReportDocument) -> str:
    """Return every character of a document once, in code point order."""
    return "".join(sorted(set().union(*_texts(document.model_dump(mode="json")))))


def plan_glyphs(characters: str) -> GlyphPlan:
    """Choose the smallest set of fonts that prints these characters.

    Cheap enough to check a name before an order is accepted.

    Args:
        characters: The characters of a text; repeats and order do not matter.
    """
    best = GlyphPlan(missing=missing_glyphs(characters, "latin"))
    levels: tuple[FontSet, ...] = ("world", "system")
    for fonts in levels:
        # Reading this machine's fonts takes time and is not reproducible: not for a symbol.
        wanted = best.missing if fonts == "world" else _letters(best.missing)
        if not wanted:
            break
        missing = missing_glyphs(best.missing, fonts)
        if missing != best.missing:
            best = GlyphPlan(fonts=fonts, missing=missing)
    return best


def foreign_letters(text: str) -> str:
    """Return the letters that none of the fonts has which come with the reports: alike on every machine.

    What a worker's own fonts would print is not known where orders are accepted.
    """
    missing = _letters(missing_glyphs(text, "latin"))
    return missing_glyphs(missing, "world") if missing else ""


def missing_glyphs(characters: str, fonts: FontSet) -> str:
    """Return the characters that a set of fonts cannot print, each once."""
    probed = sorted(c for c in set(characters) if not c.isspace() and c not in REPLACEMENT)
    # The typesetter writes nothing for these, so it cannot report them either.
    unprintable = {c for c in probed if unicodedata.category(c) in {"Cc", "Cs"}}
    probed = [c for c in probed if c not in unprintable]
    job = CompileJob(template="probe", document_path="", out_path="probe", fonts=fonts)
    reported: set[str] = set(unprintable)
    try:
        typeset(job, json.dumps(probed, ensure_ascii=False))
    except CompileError as error:
        found = _REPORTED.findall(str(error))
        if not found:
            raise
        for text in found:
            reported.update(_ESCAPE.sub(lambda match: chr(int(match[1], 16)), text))
    return "".join(sorted(reported & set(characters)))


def check_names(document: ReportDocument, glyphs: GlyphPlan) -> None:
    """Refuse a report whose cover could not show the person's name or the title.

    Characters that are not letters, or that Unicode has not assigned, are no reason to refuse.

    Raises:
        MissingGlyphError: A letter of these has no font on this machine.
    """
    for field in ("person", "title", "subtitle"):
        value = getattr(document, field)
        letters = _letters("".join(sorted(set(value) & set(glyphs.missing))))
        if letters:
            package = "fonts-noto-cjk" if _CJK.search(letters) else "fonts-noto-core"
            raise MissingGlyphError(field=field, value=value, missing=letters, package=package)


def replace_missing(content: Any, glyphs: GlyphPlan) -> Any:
    """Return JSON content without the characters that no font can print."""
    if not glyphs.missing:
        return content
    table = str.maketrans({c: _substitute(c) for c in glyphs.missing})
    return _translated(content, table)


def notices(glyphs: GlyphPlan) -> tuple[str, ...]:
    """Say in plain words what could not be printed, for the operator."""
    if not glyphs.missing:
        return ()
    taken_out = [c for c in glyphs.missing if not _substitute(c)]
    replaced = [c for c in glyphs.missing if _substitute(c)]
    package = "fonts-noto-cjk" if _CJK.search(glyphs.missing) else "fonts-noto-core"
    told = []
    if taken_out:
        told.append(f"no font for the symbols {_points(taken_out)}; they were left out")
    if replaced:
        told.append(
            f"no font for {_points(replaced)}; printed as U+FFFD – "
            f"a package such as {package} (Debian) may have them"
        )
    return tuple(told)


def _points(characters: list[str]) -> str:
    return " ".join(f"U+{ord(c):04X}" for c in characters)


def _letters(characters: str) -> str:
    return "".join(c for c in characters if unicodedata.category(c)[0] in "LMN")


def _substitute(character: str) -> str:
    category = unicodedata.category(character)
    return "" if category[0] in "SZ" or category in {"Cf", "Cc"} else REPLACEMENT


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)


def _translated(content: Any, table: dict[int, str]) -> Any:
    if isinstance(content, str):
        # A text of nothing but symbols must not become empty: a heading needs a name.
        return content.translate(table) or (REPLACEMENT if content else "")
    if isinstance(content, dict):
        return {key: _translated(value, table) for key, value in content.items()}
    if isinstance(content, list):
        return [_translated(value, table) for value in content]
    return content
