import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.reports.astro.folding import fold_name


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("São Paulo", "SAO-PAULO"),
        ("St. Louis", "Saint Louis"),
        ("Washington D.C.", "washington dc"),
        ("İstanbul", "ISTANBUL"),
        ("Straße", "STRASSE"),
        ("N’Djamena", "N'Djamena"),
        ("Łódź", "lodz"),
    ],
)
def test_spellings_of_one_name_fold_alike(first, second):
    assert fold_name(first) == fold_name(second)


@pytest.mark.parametrize(("first", "second"), [("はし", "ばし"), ("की", "का"), ("Paris", "Parys")])
def test_different_names_stay_different(first, second):
    assert fold_name(first) != fold_name(second)


@given(st.text(max_size=30))
def test_folding_again_changes_nothing_for_plain_results(name):
    folded = fold_name(name)

    assert folded == folded.strip()
    assert "  " not in folded
