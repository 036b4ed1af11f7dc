"""The Personal Blueprint: 52 sections of their own, in rounds, on some 33 pages."""

import pikepdf
import pytest

from holdfast.apps.reports.astro import precompute
from holdfast.apps.reports.blueprint import blueprint_manifest, chapters, compose_blueprint
from holdfast.apps.reports.models import BatchAnswers, ReportRequest, ReportResult
from holdfast.apps.reports.phrases import phrases
from holdfast.apps.reports.render import render_report
from holdfast.apps.reports.sample import write_report_sample
from holdfast.apps.reports.writing import Written, batch_prompt, check_batch
from holdfast.model import JobStatus
from tests.apps.reports.conftest import BIRTH, START, report_request
from tests.apps.reports.render.reading import (
    broken_parents,
    link_pages,
    outline,
    pages_text,
    structure,
    unembedded_fonts,
)
from tests.apps.reports.test_sample import request_for, written

SECTIONS = 52


def texts_of(request: ReportRequest, facts) -> Written:
    texts = Written()
    for batch in blueprint_manifest(request):
        answer = write_report_sample(request_for(batch, facts))
        texts.add(check_batch(batch, BatchAnswers.model_validate_json(answer)))
    return texts


def test_there_are_52_sections_that_all_ask_something_else():
    sections = [section for chapter in chapters() for section in chapter.section]

    assert len(sections) == SECTIONS
    assert len({section.title for section in sections}) == SECTIONS
    assert len({section.ask for section in sections}) == SECTIONS
    assert {section.topic for section in sections} <= phrases()["topics"].keys()


def test_manifest_has_one_call_for_each_section_in_the_order_of_print():
    batches = blueprint_manifest(report_request())

    assert len(batches) == SECTIONS
    assert [batches[0].id, batches[-1].id] == ["section_01", "section_52"]
    assert batches == blueprint_manifest(report_request())


@pytest.mark.parametrize(("size", "count", "last"), [(4, 13, "section_49-52"), (5, 11, "section_51-52")])
def test_one_call_may_write_several_sections(size, count, last):
    batches = blueprint_manifest(report_request(sections_per_batch=size))

    assert (len(batches), batches[-1].id) == (count, last)
    assert sum(batch.answers for batch in batches) == SECTIONS


def test_every_prompt_is_its_own_and_names_what_to_look_at(facts):
    prompts = {batch_prompt(batch, facts) for batch in blueprint_manifest(report_request())}

    assert len(prompts) == SECTIONS
    assert all("look_first_at" in prompt for prompt in prompts)
    assert all("250 to 360 words" in prompt for prompt in prompts)


@pytest.mark.parametrize("name", ["Amélie Hartmann", "محمد بن عبد الله", "山田 太郎"])
def test_offline_writer_answers_every_section_within_its_range(name):
    facts = precompute(BIRTH.model_copy(update={"name": name, "birth_time": None}), START)

    texts = [text for batch in blueprint_manifest(report_request()) for text in written(batch, facts)]

    assert len(set(texts)) == SECTIONS


def test_section_shows_where_its_bodies_stand(facts):
    document = compose_blueprint(
        report_request(), facts, blueprint_manifest(report_request()), Written()
    )
    first, second, *_ = document.all_chapters()

    assert document.template == "blueprint"
    assert first.notes == ("☉ Sun in Pisces, twelfth house",)
    assert second.notes[0] == "Ascendant in Aries"
    assert (first.eyebrow, document.all_chapters()[-1].eyebrow) == ("1.1", "9.7")


def test_without_a_birth_time_no_section_speaks_of_houses():
    facts = precompute(BIRTH.model_copy(update={"birth_time": None}), START)

    document = compose_blueprint(
        report_request(), facts, blueprint_manifest(report_request()), Written()
    )

    notes = [note for chapter in document.all_chapters() for note in chapter.notes]
    assert notes
    assert not [note for note in notes if "house" in note or "Ascendant" in note]


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_blueprint_becomes_a_tagged_pdf_of_some_33_pages(harness, desk, quick_sky, tmp_path):
    await harness.start_worker()

    job_id = await harness.submit("personal_blueprint", report_request())
    result = harness.client.output_of(await harness.client.wait(job_id))

    assert isinstance(result, ReportResult)
    assert (result.answers, result.batches, len(desk.batches)) == (SECTIONS, SECTIONS, SECTIONS)
    assert 28 <= result.pages <= 38
    path = tmp_path / "out.pdf"
    path.write_bytes(await harness.artifacts.get_bytes(result.sha256))
    with pikepdf.open(path) as pdf:
        assert pdf.Root.MarkInfo.Marked
        assert len(pdf.pages) == result.pages
    marks = [(depth, title) for depth, title, _ in outline(path)]
    assert marks[2:6] == [
        (0, "Numerology"),
        (0, "Who you are"),
        (1, "The centre you act from"),
        (1, "The door others come in by"),
    ]
    assert len([depth for depth, _ in marks if depth == 1]) == SECTIONS
    # The contents lead to every section, and none of the links dangles.
    assert len([to for page, to in link_pages(path) if page == 3]) >= SECTIONS + len(chapters())
    assert structure(path)["/H2"] >= SECTIONS
    assert unembedded_fonts(path) == []
    assert broken_parents(path) == []
    text = pages_text(path)
    assert "Amélie Hartmann" in text[0]
    assert "9.7 A letter to read in a year" in text[2]
    # No chapter leaves a few lines alone on its last page.
    assert min(len(page.split()) for page in text[5:-1]) > 100


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "cut"), [("محمد بن عبد الله", {}), ("山田 太郎", {"one_go_pages": 0, "chunk_pages": 8})]
)
def test_names_of_other_scripts_are_printed_in_one_go_and_in_chunks(facts, tmp_path, name, cut):
    """Two chapters are enough: cover, contents and the links between chunks are those of the whole."""
    request = report_request()
    document = compose_blueprint(request, facts, blueprint_manifest(request), texts_of(request, facts))
    short = document.model_copy(update={"person": name, "parts": document.parts[:2]})

    made = render_report(short, tmp_path / "out.pdf", tmp_path / "work", **cut)

    text = pages_text(made.path)
    assert made.notices == ()
    assert made.chunks == (2 if cut else 1)
    # A right-to-left name may come back in either direction.
    assert set(name) <= set(text[0])
    assert "2.5 Quieting a busy head" in text[2]
    assert unembedded_fonts(made.path) == []
    assert broken_parents(made.path) == []
    assert len([to for page, to in link_pages(made.path) if page == 3]) >= 11 + 2


async def test_round_of_five_ends_before_the_next_begins(harness, desk, quick_print):
    """The sixth section waits for the fifth, though four of its round have long been written."""
    desk.held = "section_05"
    await harness.start_worker()

    job_id = await harness.submit("personal_blueprint", report_request())
    await desk.reached.wait()
    for number in range(4):
        await harness.event(job_id, "usage", number=number + 1)
    first = sorted(desk.batches)
    desk.release.set()
    job = await harness.client.wait(job_id)

    assert first == [f"section_{number:02d}" for number in range(1, 6)]
    assert job.status is JobStatus.COMPLETED
    rounds = [desk.batches[at : at + 5] for at in range(0, SECTIONS, 5)]
    assert [sorted(found) for found in rounds] == [
        [f"section_{number:02d}" for number in range(at, min(at + 5, SECTIONS + 1))]
        for at in range(1, SECTIONS + 1, 5)
    ]


async def test_strict_order_writes_one_section_after_another(harness, desk, quick_print):
    await harness.start_worker()

    await harness.client.wait(
        await harness.submit("personal_blueprint", report_request(strict_order=True))
    )

    assert desk.batches == [f"section_{number:02d}" for number in range(1, SECTIONS + 1)]


@pytest.mark.parametrize("words", [150, 500])
async def test_section_out_of_its_word_range_is_asked_for_again(
    harness, desk, quick_print, no_wait, words
):
    desk.spoilt["section_07"] = [" ".join(["word"] * words)]
    await harness.start_worker()

    job = await harness.client.wait(await harness.submit("personal_blueprint", report_request()))

    assert job.status is JobStatus.COMPLETED
    assert desk.batches.count("section_07") == 2
    assert job.usage.calls == SECTIONS + 1


async def test_section_that_stays_malformed_fails_the_job_after_four_tries(
    harness, desk, quick_print, no_wait
):
    desk.spoilt["section_03"] = ["too short"] * 10
    await harness.start_worker()

    job = await harness.client.wait(await harness.submit("personal_blueprint", report_request()))

    assert job.status is JobStatus.FAILED
    assert desk.batches.count("section_03") == 4
    assert job.error is not None
    assert "too short" not in job.error.message
