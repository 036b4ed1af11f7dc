"""What a reader, a screen reader and an archive get."""

import subprocess

import pikepdf
import pytest

from holdfast.apps.reports.render import pipeline
from holdfast.apps.reports.render.document import Answer, Section
from holdfast.apps.reports.render.errors import CompileError, MissingGlyphError, RenderError
from tests.apps.reports.render import reading, synthetic
from tests.apps.reports.render.conftest import render

HOSTILE = (
    "#panic(1) $x^2$ *bold* _em_ `code` <label> @ref // comment /* open \\ \\u{41} "
    '= Heading #import "x": * [[]] {{}} "quoted" \'single\' -- --- ~ #let'
)


def with_answer(answer: str, question: str = "Why?", person: str = "Ada Example"):
    document = synthetic.small_report(person=person, paragraphs=1)
    lead = document.parts[0].lead
    assert lead is not None
    section = Section(title="Here", answers=(Answer(question=question, answer=answer),))
    part = document.parts[0].model_copy(
        update={"lead": lead.model_copy(update={"sections": (section,)})}
    )
    return document.model_copy(update={"parts": (part, *document.parts[1:])})


def test_chunked_report_has_the_pages_of_one_go(whole, chunked):
    assert (whole.result.chunks, chunked.result.chunks) == (1, 4)
    assert chunked.result.pages == whole.result.pages
    assert len(reading.pages_text(chunked.path)) == chunked.result.pages


def test_chunked_report_prints_the_text_of_one_go_page_by_page(whole, chunked):
    assert [sorted(page.split()) for page in reading.pages_text(chunked.path)] == [
        sorted(page.split()) for page in reading.pages_text(whole.path)
    ]


def test_chunked_report_has_the_structure_elements_of_one_go(whole, chunked):
    assert reading.structure(chunked.path) == reading.structure(whole.path)


def test_chunked_report_has_the_bookmarks_of_one_go(whole, chunked):
    assert reading.outline(chunked.path) == reading.outline(whole.path)


def test_chunked_report_has_the_links_of_one_go(whole, chunked):
    assert sorted(reading.link_pages(chunked.path)) == sorted(reading.link_pages(whole.path))


def test_every_question_and_chapter_title_is_a_heading(whole):
    document = whole.document
    questions = sum(len(s.answers) for c in document.all_chapters() for s in c.sections)

    headings = reading.structure(whole.path)

    assert headings["/H1"] == len(document.parts) + 4  # contents, chart, numerology, closing
    assert sum(headings[f"/H{n}"] for n in (2, 3, 4)) >= questions + 40


@pytest.mark.parametrize("kind", ["whole", "chunked"])
def test_contents_show_the_page_on_which_each_chapter_begins(kind, request):
    report = request.getfixturevalue(kind)
    texts = reading.pages_text(report.path)
    contents = texts[2]

    for part in report.document.parts:
        entries = [part.lead, *(c for c in part.chapters if c.kind == "weekly")]
        for chapter in entries:
            page = reading.destinations(report.path)[chapter.id]
            assert chapter.title in texts[page - 1]
            assert f"{chapter.title} {page}" in contents.replace(" .", "").replace(".", "")


@pytest.mark.parametrize("kind", ["whole", "chunked"])
def test_footer_tells_page_and_total_on_every_page_but_the_cover(kind, request):
    report = request.getfixturevalue(kind)
    texts = reading.pages_text(report.path)

    without = [
        number
        for number, text in enumerate(texts, start=1)
        if f"{number} of {report.result.pages}" not in text
    ]

    assert without == [1]


def test_links_of_the_calendars_lead_to_their_days(chunked):
    targets = set(reading.link_pages(chunked.path))
    days = {name: page for name, page in reading.destinations(chunked.path).items() if "daily" in name}

    assert len(days) == 40
    assert all((3, page) in targets for page in days.values())


def test_no_link_keeps_the_scheme_of_the_chunks(chunked):
    assert b"(doc:" not in chunked.path.read_bytes()
    with pikepdf.open(chunked.path) as pdf:
        uris = [a for page in pdf.pages for a in page.get("/Annots", ()) if "/A" in a]
    assert uris == []


@pytest.mark.parametrize("kind", ["whole", "chunked"])
def test_report_is_tagged_titled_and_marked_as_accessible(kind, request):
    report = request.getfixturevalue(kind)
    with pikepdf.open(report.path) as pdf, pdf.open_metadata() as metadata:
        assert pdf.Root.MarkInfo.Marked
        assert str(pdf.Root.Lang) == "en"
        assert pdf.Root.ViewerPreferences.DisplayDocTitle
        assert metadata["dc:title"] == "The Year Ahead – Ada Example"
        assert metadata["dc:creator"] == ["Holdfast Reports"]
        assert metadata["pdfuaid:part"] == "1"
        assert (metadata["pdfaid:part"], metadata["pdfaid:conformance"]) == ("2", "A")
    assert reading.broken_parents(report.path) == []


@pytest.mark.parametrize("kind", ["whole", "chunked"])
def test_every_font_is_embedded(kind, request):
    assert reading.unembedded_fonts(request.getfixturevalue(kind).path) == []


@pytest.mark.requires("qpdf")
@pytest.mark.parametrize("kind", ["whole", "chunked"])
def test_qpdf_finds_nothing_to_complain_about(kind, request):
    path = request.getfixturevalue(kind).path
    done = subprocess.run(["qpdf", "--check", path], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_second_run_gives_the_same_bytes_in_the_same_folder_and_in_another(tmp_path):
    document = synthetic.horoscope(days=9, answers=1)
    first = render(document, tmp_path, one_go_pages=0, chunk_pages=6)

    again = render(document, tmp_path, one_go_pages=0, chunk_pages=6)
    elsewhere = render(document, tmp_path / "other", one_go_pages=0, chunk_pages=6)

    assert first.result.chunks > 1
    assert first.result.sha256 == again.result.sha256 == elsewhere.result.sha256


def test_hostile_text_prints_literally(tmp_path):
    report = render(with_answer(HOSTILE, question=HOSTILE[:80], person=HOSTILE[:60]), tmp_path)

    text = " ".join(reading.pages_text(report.path))

    for snippet in HOSTILE.split():
        assert snippet in text


def test_empty_answer_leaves_its_question_standing(tmp_path):
    report = render(with_answer("", question="Is silence an answer?"), tmp_path)

    assert any("Is silence an" in page for page in reading.pages_text(report.path))


def test_huge_answer_flows_over_pages_and_ends_where_it_ends(tmp_path):
    report = render(with_answer(synthetic.words(3, 4000) + " Thisistheend."), tmp_path)

    texts = reading.pages_text(report.path)

    assert report.result.pages >= 14
    assert any("Thisistheend." in page for page in texts)


def test_answer_without_a_single_space_stays_on_its_page(tmp_path):
    report = render(with_answer("x" * 3000), tmp_path)

    assert "".join(reading.pages_text(report.path)).count("x") >= 3000


def test_very_long_name_stays_on_the_cover(tmp_path):
    name = "Wolfeschlegelsteinhausenbergerdorff " * 10
    report = render(with_answer("So.", person=name.strip()), tmp_path)

    assert reading.pages_text(report.path)[0].count("Wolfe") == 10


@pytest.mark.parametrize(
    "name", ["محمد بن عبد الله", "山田花子", "अनिका शर्मा", "김서연", "Ελένη Жуковá"]
)
def test_name_in_another_script_is_printed_with_embedded_fonts(name, tmp_path):
    report = render(with_answer("So.", person=name), tmp_path)

    assert report.result.notices == ()
    assert reading.unembedded_fonts(report.path) == []


def test_emoji_and_unassigned_characters_are_told_to_the_operator(tmp_path):
    report = render(with_answer("Good 🌙 luck \u0378 x", person="Ada 🌙 Example"), tmp_path)

    text = " ".join(reading.pages_text(report.path))

    assert "🌙" not in text
    assert "Good luck \ufffd x" in text
    assert len(report.result.notices) == 2
    assert "U+1F319" in report.result.notices[0]
    assert "U+0378" in report.result.notices[1]


def test_name_that_no_font_can_print_is_refused_with_the_package_to_install(tmp_path):
    with pytest.raises(MissingGlyphError, match=r"U\+13000.*fonts-noto-core"):
        render(with_answer("So.", person="𓀀"), tmp_path)


def test_report_without_birth_time_has_no_houses(tmp_path):
    document = synthetic.small_report(paragraphs=1)
    assert document.natal is not None
    rows = tuple(row.model_copy(update={"house": ""}) for row in document.natal.rows)
    natal = document.natal.model_copy(
        update={"rows": rows, "ascendant": None, "midheaven": None, "house_system": None}
    )

    report = render(document.model_copy(update={"natal": natal}), tmp_path)

    assert "House" not in reading.pages_text(report.path)[3]


def test_broken_wheel_is_an_error_of_the_typesetter(tmp_path):
    document = synthetic.small_report(paragraphs=1)
    assert document.natal is not None
    natal = document.natal.model_copy(update={"wheel_svg": "<svg"})

    with pytest.raises(CompileError, match="could not be typeset"):
        render(document.model_copy(update={"natal": natal}), tmp_path)


def test_child_processes_and_one_process_give_the_same_bytes(tmp_path):
    document = synthetic.small_report(paragraphs=1)

    apart = render(document, tmp_path / "apart", run=pipeline.run_step)
    together = render(document, tmp_path / "together")

    assert apart.result.sha256 == together.result.sha256


def test_process_that_crashes_is_told_apart_from_a_refusal():
    with pytest.raises(CompileError, match="ended with status 1") as caught:
        pipeline.run_step("chunk", nonsense=1)

    assert isinstance(caught.value, RenderError)
