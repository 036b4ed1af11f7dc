"""Pythagorean numerology of a name and a birth date.

Letters count 1 to 9 in the order of the Latin alphabet, starting again after I and R. Accents are
dropped ('É' is E), and letters such as 'ß' or 'Ø' are written out (SS, O). A name with a letter of
another script has no numbers of the name: transliteration is a choice for the buyer, not for us.
Y is a vowel unless it stands next to another vowel ('Lynn', but not 'Maya').
"""

from __future__ import annotations

from datetime import date
from typing import Final

from holdfast.apps.reports.astro.folding import fold_latin
from holdfast.apps.reports.astro.models import Numerology

MASTER_NUMBERS: Final = frozenset({11, 22, 33})

_NOT_LATIN_NOTE: Final = (
    "The name has letters outside the Latin alphabet, so the numbers of the name "
    "(expression, soul urge, personality) are left out."
)
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"
_VOWELS: Final = frozenset("aeiou")


def numerology(name: str, birth_date: date, year: int) -> Numerology:
    """Compute the numbers of a person, and the personal year of one calendar year.

    Args:
        name: Any script; see the module for names that are not Latin.
        birth_date: Gregorian.
        year: Calendar year that the personal year is for.
    """
    letters = latin_letters(name)
    notes: tuple[str, ...] = ()
    if letters is None:
        notes = (_NOT_LATIN_NOTE,)
    vowels = None if letters is None else _vowel_flags(letters)
    return Numerology(
        life_path=reduce_number(
            reduce_number(birth_date.month)
            + reduce_number(birth_date.day)
            + reduce_number(sum(map(int, str(birth_date.year))))
        ),
        birthday=reduce_number(birth_date.day),
        expression=_name_number(letters, [True] * len(letters or "")),
        soul_urge=_name_number(letters, vowels or []),
        personality=_name_number(letters, [not vowel for vowel in vowels or []]),
        personal_year=personal_year(birth_date, year),
        year=year,
        notes=notes,
    )


def reduce_number(number: int, *, keep_masters: bool = True) -> int:
    """Add up the digits until one is left, or a master number if those are kept.

    Args:
        number: At least 1.
        keep_masters: Stop at 11, 22 or 33.
    """
    while number > 9 and not (keep_masters and number in MASTER_NUMBERS):
        number = sum(map(int, str(number)))
    return number


def personal_year(birth_date: date, year: int) -> int:
    """Return the place, 1 to 9, of a calendar year in a person's cycle of nine."""
    return reduce_number(birth_date.month + birth_date.day + year, keep_masters=False)


def personal_month(birth_date: date, year: int, month: int) -> int:
    """Return the place, 1 to 9, of a calendar month in a person's cycle of nine."""
    return reduce_number(personal_year(birth_date, year) + month, keep_masters=False)


def latin_letters(name: str) -> str | None:
    """Return the name as words of a to z, or None if a letter has no Latin form.

    Digits and punctuation are dropped; spaces stay, because a Y is judged within its word.
    """
    words = fold_latin(name).split()
    letters = " ".join("".join(filter(str.isalpha, word)) for word in words)
    return letters if set(letters) <= {*_ALPHABET, " "} else None


def _vowel_flags(letters: str) -> list[bool]:
    padded = f" {letters} "
    return [
        letter in _VOWELS
        or (letter == "y" and padded[index] not in _VOWELS and padded[index + 2] not in _VOWELS)
        for index, letter in enumerate(letters)
    ]


def _name_number(letters: str | None, counted: list[bool]) -> int | None:
    """Return the number of the letters that are counted, or None if there is none."""
    total = sum(
        _ALPHABET.index(letter) % 9 + 1
        for letter, counts in zip(letters or "", counted, strict=True)
        if counts and letter != " "
    )
    return reduce_number(total) if total else None
