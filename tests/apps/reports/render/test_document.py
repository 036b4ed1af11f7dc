"""What a document must be."""

import pytest
from pydantic import ValidationError

from holdfast.apps.reports.render import ReportDocument
from holdfast.apps.reports.render.document import Chapter, Part
from tests.apps.reports.render import synthetic


def test_document_survives_the_way_through_json():
    document = synthetic.horoscope(days=8, answers=2)

    assert ReportDocument.model_validate_json(document.model_dump_json()) == document


def test_same_id_twice_is_refused():
    document = synthetic.small_report()

    with pytest.raises(ValidationError, match="'agent-0' is used 2 times"):
        ReportDocument.model_validate({**document.model_dump(), "parts": document.parts[:1] * 2})


def test_daily_chapter_without_a_date_is_refused():
    with pytest.raises(ValidationError, match="has no date"):
        Chapter(id="d", kind="daily", title="A day")


def test_part_without_chapters_is_refused():
    with pytest.raises(ValidationError, match="has no chapter"):
        Part(id="p", title="Empty")


def test_synthetic_horoscope_has_the_size_of_the_product():
    chapters = synthetic.horoscope().all_chapters()
    answers = [a for c in chapters for s in c.sections for a in s.answers]
    daily = [a for c in chapters if c.kind == "daily" for s in c.sections for a in s.answers]

    assert (len(chapters), len(answers)) == (430, 8600)
    assert all(75 <= len(a.answer.split()) <= 165 for a in daily)
