from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.apps.reports.astro.numerology import (
    latin_letters,
    numerology,
    personal_month,
    personal_year,
    reduce_number,
)


def numbers(name, day=date(1990, 6, 15)):
    return numerology(name, day, 2026)


def test_numbers_of_a_person_worked_by_hand():
    """JOHN SMITH = 1685 14928 → 44 → 8; vowels O, I = 15 → 6; consonants 29 → 11, a master."""
    profile = numbers("John Smith")

    assert (profile.expression, profile.soul_urge, profile.personality) == (8, 6, 11)
    assert profile.life_path == 4  # 6 + (1+5) + (1+9+9+0 → 19 → 1) = 13 → 4
    assert profile.birthday == 6
    assert profile.personal_year == 4  # 6 + 15 + 2026 = 2047 → 13 → 4


@pytest.mark.parametrize(
    ("day", "life_path"),
    [
        (date(1992, 11, 29), 7),  # 11 + 11 + 21 → 3 = 25 → 7
        (date(1975, 11, 22), 1),  # 11 + 22 + 22 = 55 → 10 → 1
        (date(2000, 2, 7), 11),  # 2 + 7 + 2
        (date(2009, 2, 9), 22),  # 2 + 9 + 11
        (date(1984, 11, 9), 6),  # 11 + 9 + 22 = 42 → 6
        (date(2009, 11, 29), 33),  # 11 + 11 + 11
    ],
)
def test_life_path_keeps_master_numbers_of_parts_and_whole(day, life_path):
    assert numbers("Ada", day).life_path == life_path


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        ("José Ångström", "Jose Angstrom"),
        ("Groß", "Gross"),
        ("Øystein", "Oystein"),
        ("Łukasz", "Lukasz"),
    ],
)
def test_accents_and_written_out_letters_change_nothing(typed, plain):
    assert numbers(typed) == numbers(plain)


@pytest.mark.parametrize("name", ["Анна", "東京太郎", "Ελένη", "Ada Анна", "فاطمة"])
def test_name_in_other_script_has_no_name_numbers_and_a_note(name):
    profile = numbers(name)

    assert (profile.expression, profile.soul_urge, profile.personality) == (None, None, None)
    assert "outside the Latin alphabet" in profile.notes[0]
    assert profile.life_path == 4


def test_y_is_vowel_only_away_from_other_vowels():
    """Lynn: the Y is 7. Maya: the vowels are A and A, 2."""
    assert numbers("Lynn").soul_urge == 7
    assert numbers("Maya").soul_urge == 2


def test_name_without_consonants_or_letters_has_no_such_number():
    assert numbers("Aia").personality is None
    assert numbers("4711").expression is None


@given(st.dates(), st.integers(1900, 2100), st.integers(1, 12))
def test_cycles_stay_between_one_and_nine_and_advance_by_one(day, year, month):
    here, following = personal_year(day, year), personal_year(day, year + 1)

    assert following == here % 9 + 1
    assert 1 <= personal_month(day, year, month) <= 9


@given(st.integers(1, 10**9))
def test_reduced_number_keeps_remainder_of_nine(number):
    reduced = reduce_number(number)

    assert reduced in {*range(1, 10), 11, 22, 33}
    assert reduced % 9 == number % 9


@settings(max_examples=30)
@given(st.text(max_size=20))
def test_any_text_is_letters_or_not_latin(name):
    letters = latin_letters(name)

    assert letters is None or set(letters) <= set("abcdefghijklmnopqrstuvwxyz ")
    assert 1 <= numbers(name).life_path <= 33
