"""Which fonts a text needs, and what becomes of characters that have none."""

import pytest

from holdfast.apps.reports.render.glyphs import (
    check_names,
    document_characters,
    notices,
    plan_glyphs,
    replace_missing,
)
from holdfast.apps.reports.render.jobs import GlyphPlan
from tests.apps.reports.render import synthetic


@pytest.mark.parametrize(
    "text", ["Zoë Ångström", "Ελένη", "Жуков", "שרה כהן", "☽ ♈ ♇", "a\u200d\ufe0f\u00ad\u200eb"]
)
def test_text_that_libertinus_prints_needs_no_other_font(text):
    assert plan_glyphs(text) == GlyphPlan(fonts="latin")


@pytest.mark.parametrize(
    "text",
    [
        "محمد",
        "山田花子",
        "李小龙",
        "김서연",
        "अनिका",
        "রবি",
        "சிவா",
        "สมชาย",
        "გიორგი",
        "☊",
        "✦",
    ],
)
def test_shipped_fonts_print_names_of_the_world(text):
    assert plan_glyphs(text) == GlyphPlan(fonts="world")


def test_symbol_without_glyph_does_not_load_the_fonts_of_the_machine():
    assert plan_glyphs("a 🦄 b") == GlyphPlan(fonts="latin", missing="🦄")


def test_control_characters_count_as_missing():
    assert plan_glyphs("a\x07b").missing == "\x07"


def test_every_character_of_a_document_is_looked_at():
    found = document_characters(synthetic.small_report(person="Ŵ"))

    assert "Ŵ" in found
    assert "☽" in found


def test_symbols_are_left_out_and_letters_replaced():
    plan = GlyphPlan(missing="🦄𓀀")

    content = replace_missing({"a": ["one 🦄 two", "𓀀!"], "n": 1}, plan)

    assert content == {"a": ["one  two", "\ufffd!"], "n": 1}
    assert len(notices(plan)) == 2


def test_text_of_nothing_but_symbols_does_not_become_empty():
    assert replace_missing(["🦄", ""], GlyphPlan(missing="🦄")) == ["\ufffd", ""]


def test_name_is_refused_for_letters_only():
    check_names(synthetic.small_report(person="Ada 🦄"), GlyphPlan(missing="🦄"))


def test_nothing_missing_is_told_as_nothing():
    assert notices(GlyphPlan()) == ()
