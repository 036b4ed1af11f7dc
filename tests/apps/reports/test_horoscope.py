from datetime import date, timedelta

import pytest

from holdfast.apps.reports.astro import Precomputed, precompute
from holdfast.apps.reports.horoscope import compose_horoscope
from holdfast.apps.reports.manifest import horoscope_manifest
from holdfast.apps.reports.models import PeriodAnswers, ReportRequest, WrittenAnswer, WrittenBatch
from holdfast.apps.reports.render import ReportDocument
from holdfast.apps.reports.writing import Written
from tests.apps.reports.conftest import BIRTH, report_request


def composed(
    facts: Precomputed,
    *,
    request: ReportRequest | None = None,
    written: Written | None = None,
    **options,
) -> ReportDocument:
    request = request or report_request(**options)
    return compose_horoscope(request, facts, horoscope_manifest(request), written or Written())


@pytest.fixture(scope="module")
def document(facts) -> ReportDocument:
    return composed(facts, answers_per_period=2)


def test_year_comes_first_then_the_months_in_order(document):
    titles = [part.title for part in document.parts]

    assert titles[:3] == ["The year as a whole", "May 2026", "June 2026"]
    assert titles[-1] == "May 2027"
    assert len(titles) == 14


def test_all_430_periods_are_printed(document):
    assert len(document.all_chapters()) == 430


def test_last_days_beyond_the_twelfth_month_have_no_opener_but_say_so(document):
    last = document.parts[-1]

    assert last.lead is None
    assert "19 May 2027" in last.intro


def test_first_week_stands_before_the_first_day_though_it_began_earlier(document):
    chapters = document.parts[1].chapters

    assert [chapter.id for chapter in chapters[:2]] == ["weekly-2026-w21", "daily-2026-05-20"]
    assert chapters[0].title == "18 – 24 May 2026"


def test_days_are_in_order_and_a_week_stands_before_its_monday(document):
    for part in document.parts[2:]:
        dates = [chapter.date for chapter in part.chapters]
        assert dates == sorted(dates)
    mondays = [
        after
        for part in document.parts[2:]
        for before, after in zip(part.chapters, part.chapters[1:], strict=False)
        if before.kind == "weekly"
    ]
    assert {after.date.weekday() for after in mondays} == {0}


def test_calendars_link_to_days_of_the_report_only(document):
    known = {chapter.id for chapter in document.all_chapters()}
    may = document.parts[1].lead

    assert may is not None
    assert [day.target for day in may.days[:19]] == [None] * 19
    assert {day.target for day in may.days[19:]} <= known


def test_month_shows_its_phases_and_colours(document):
    june = document.parts[2].lead

    assert june is not None
    assert {phase.name for phase in june.phases} >= {"New Moon", "Full Moon"}
    assert "Your colours are" in june.intro


def test_answers_are_printed_under_their_questions(facts):
    written = Written()
    answers = PeriodAnswers(
        period="2026-05-20", answers=(WrittenAnswer(question=2, answer="The answer to the second."),)
    )
    written.add(WrittenBatch(periods=(answers,), sample=True))

    document = composed(facts, written=written, days=1, answers_per_period=2)

    day = document.parts[1].chapters[-1]
    assert [answer.answer for section in day.sections for answer in section.answers] == [
        "",
        "The answer to the second.",
    ]
    assert document.sample_notice


def test_report_by_a_model_bears_no_sample_notice(document):
    assert document.sample_notice is None


def test_imprint_names_the_sources(document):
    imprint = " ".join(document.imprint)

    assert "CC BY 4.0" in imprint
    assert "JPL DE421" in imprint
    assert "medical" in imprint


def test_natal_page_has_the_table_and_the_wheel(document):
    assert document.natal is not None
    assert document.natal.wheel_svg.startswith("<svg")
    assert document.natal.rows[0].position == "23°27′"
    assert document.natal.ascendant == "♈ 6°16′"
    assert document.natal.when == "14 March 1990, 07:25 (UTC)"


def test_numerology_has_a_text_for_every_number(document):
    assert document.numerology is not None
    assert len(document.numerology.numbers) == 6
    assert all(number.text and number.keyword for number in document.numerology.numbers)


@pytest.mark.parametrize("start", [date(2027, 1, 1), date(2028, 2, 29), date(2026, 12, 31)])
def test_year_ends_and_leap_days_compose(start):
    request = ReportRequest(birth=BIRTH.model_copy(update={"birth_time": None}), start=start)

    document = composed(precompute(request.birth, start), request=request)

    days = [chapter.date for chapter in document.all_chapters() if chapter.kind == "daily"]
    assert days == [start + timedelta(n) for n in range(365)]
    assert document.natal is not None
    assert document.natal.house_system is None
