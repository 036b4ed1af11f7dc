"""One spelling for the many ways to write a name."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Final

# Letters that Unicode does not split into a base and a mark.
_LATIN_LETTERS: Final = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "ł": "l",
        "þ": "th",
        "ı": "i",
        "ħ": "h",
        "ŋ": "n",
        "ə": "e",
    }
)
_SILENT: Final = str.maketrans(dict.fromkeys(".'’‘`´ʻʼʹ·", ""))
_GAPS: Final = re.compile(r"[\s\-‐–—_=＝・]+")
_ABBREVIATIONS: Final = {"saint": "st", "sankt": "st", "mount": "mt", "fort": "ft"}


@cache
def _is_mark(character: str) -> bool:
    # Only the general accents: the marks of Indic, Japanese or Arabic script are letters to
    # their readers, and without them different names would become the same.
    return "\u0300" <= character <= "\u036f"


def fold_latin(text: str) -> str:
    """Return the text in lower case without accents; letters of other scripts stay."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_LATIN_LETTERS))
    return "".join(character for character in decomposed if not _is_mark(character))


def fold_name(text: str) -> str:
    """Return the form under which names of places are compared.

    'São Paulo', 'sao paulo' and 'SAO-PAULO' are one name, and so are 'St. Louis' and
    'Saint Louis'; an empty result means that nothing but punctuation was typed.
    """
    words = _GAPS.split(fold_latin(text).translate(_SILENT).strip())
    return " ".join(_ABBREVIATIONS.get(word, word) for word in words).strip()
