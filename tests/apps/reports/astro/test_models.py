from datetime import date

import pytest
from pydantic import ValidationError

from holdfast.apps.reports.astro.models import BirthData, Place


def test_birth_survives_trip_through_json_with_query_and_with_place(birth):
    typed = birth.model_copy(update={"place": "Rome, Italy"})

    for each in (birth, typed):
        assert BirthData.model_validate_json(each.model_dump_json()) == each


@pytest.mark.parametrize(
    "change",
    [
        {"name": "   "},
        {"name": "x" * 201},
        {"birth_date": "1990-02-30"},
        {"birth_time": "25:00"},
        {"place": ""},
        {"gender": "unknown"},
    ],
)
def test_unusable_birth_is_refused(change):
    with pytest.raises(ValidationError):
        BirthData.model_validate({"name": "Ada", "birth_date": "1990-06-15", "place": "Rome", **change})


def test_values_cannot_be_changed(birth):
    with pytest.raises(ValidationError):
        birth.name = "Eve"


@pytest.mark.parametrize(
    "change", [{"latitude": 90.1}, {"longitude": -180.1}, {"latitude": float("nan")}]
)
def test_place_outside_earth_is_refused(change):
    with pytest.raises(ValidationError):
        Place(**{"name": "X", "latitude": 0.0, "longitude": 0.0, "timezone": "UTC", **change})


def test_label_of_city_state_does_not_repeat_itself():
    place = Place(
        name="Berlin", region="Berlin", country="Germany", latitude=52.5, longitude=13.4, timezone="UTC"
    )

    assert place.label == "Berlin, Germany"


def test_name_is_stripped():
    assert BirthData(name=" Ada ", birth_date=date(1990, 6, 15), place="Rome").name == "Ada"
