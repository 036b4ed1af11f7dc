from datetime import date, time

import pytest

from holdfast.apps.reports import report_request
from holdfast.apps.reports.astro import Place
from holdfast.errors import InvalidInputError

TYPED = {"name": "Ada Example", "born": "1990-03-14 07:25", "place": "Lisbon", "start": "2026-05-20"}


def test_request_holds_the_resolved_place():
    request = report_request(**TYPED, days=3)

    assert isinstance(request.birth.place, Place)
    assert request.birth.place.label == "Lisbon, Portugal"
    assert request.birth.birth_time == time(7, 25)
    assert request.start == date(2026, 5, 20)
    assert request.options.days == 3


def test_birth_time_may_be_unknown():
    assert report_request(**{**TYPED, "born": "1990-03-14"}).birth.birth_time is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"born": "14.3.1990"}, "1990-03-14 07:25"),
        ({"born": "1990-02-30"}, "not in the calendar"),
        ({"born": "1990-03-14 25:10"}, "not on a clock"),
        ({"place": "Springfield"}, "Springfield, Illinois, United States"),
        ({"place": "Lisbonn"}, "Lisbon, Portugal"),
        ({"start": "tomorrow"}, "start date 'tomorrow'"),
        ({"start": "1980-01-01"}, "after"),
        ({"start": "2053-01-01"}, "ephemeris"),
        ({"name": "  "}, "name"),
        ({"days": 366}, "days"),
        ({"dayz": 3}, "dayz"),
    ],
)
def test_unusable_value_is_refused_with_what_to_type_instead(wrong, told):
    with pytest.raises(InvalidInputError, match=told):
        report_request(**{**TYPED, **wrong})
