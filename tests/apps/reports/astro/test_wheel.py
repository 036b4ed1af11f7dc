import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.reports.astro.chart import natal_chart
from holdfast.apps.reports.astro.wheel import BODY_GLYPHS, SIGN_GLYPHS, natal_wheel, spread
from holdfast.apps.reports.astro.zodiac import normalize

SVG = "{http://www.w3.org/2000/svg}"


def written(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_wheel_shows_every_sign_body_house_and_angle(chart):
    texts = written(natal_wheel(chart))

    for glyph in (*SIGN_GLYPHS.values(), *BODY_GLYPHS.values(), "AC", "DC", "MC", "IC"):
        assert texts.count(glyph) == 1
    assert {str(house) for house in range(1, 13)} <= set(texts)


def test_wheel_has_title_and_description_in_words(chart):
    root = ET.fromstring(natal_wheel(chart))

    assert root.findtext(f"{SVG}title") == "Natal chart wheel"
    description = root.findtext(f"{SVG}desc", "")
    assert "Sun 24°08′ Gemini, Moon 15°38′ Pisces" in description
    assert "Saturn 24°01′ Capricorn retrograde" in description
    assert "ascendant in Libra" in description


def test_wheel_is_self_contained_and_repeatable(chart):
    svg = natal_wheel(chart)

    assert svg == natal_wheel(chart)
    assert not re.search(r"href|url\(|<style|<image|<script", svg)


def test_wheel_without_birth_time_has_no_houses_or_angles(birth):
    chart = natal_chart(birth.model_copy(update={"birth_time": None}))

    texts = written(natal_wheel(chart))

    assert not {"AC", "DC", "MC", "IC", "12"} & set(texts)
    assert set(BODY_GLYPHS.values()) <= set(texts)


@given(st.lists(st.floats(0, 360, exclude_max=True), min_size=2, max_size=11))
def test_crowded_planets_are_spread_and_keep_their_order(longitudes):
    places = spread(longitudes, gap=8.0)

    ordered = [places[index] for index in sorted(range(len(places)), key=longitudes.__getitem__)]
    gaps = [
        normalize(after - before)
        for before, after in zip(ordered, [*ordered[1:], ordered[0]], strict=True)
    ]
    assert all(gap >= 7.9 for gap in gaps)
    assert sum(gaps) == pytest.approx(360.0)


def test_planets_with_room_stay_where_they_are():
    assert spread([10.0, 350.0, 180.0]) == [10.0, 350.0, 180.0]


def test_typst_draws_the_wheel_with_its_own_font(chart, tmp_path):
    typst = pytest.importorskip("typst")
    (tmp_path / "wheel.svg").write_text(natal_wheel(chart), encoding="utf-8")
    (tmp_path / "page.typ").write_text(
        '#set page(width: 10cm, height: 10cm, margin: 0cm)\n#image("wheel.svg")', encoding="utf-8"
    )

    picture = typst.compile(str(tmp_path / "page.typ"), format="png", ppi=72, ignore_system_fonts=True)

    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
