"""Plans, page maps and inputs."""

import json
from pathlib import Path

import pytest

from holdfast.apps.reports.render import chunks
from holdfast.apps.reports.render.errors import MergeError
from holdfast.apps.reports.render.jobs import CompileResult, GlyphPlan
from tests.apps.reports.render import synthetic


def chapters_of(plan):
    return [name for chunk in plan for piece in chunk.slices for name in piece.chapters]


def skeleton(document):
    """Return the document as it is before anything is written."""
    content = document.model_dump(mode="json")
    for part in content["parts"]:
        for chapter in [part["lead"], *part["chapters"]]:
            for section in chapter["sections"]:
                for answer in section["answers"]:
                    answer["answer"] = ""
    return type(document).model_validate(content)


def test_short_report_is_one_chunk():
    plan = chunks.plan_chunks(synthetic.small_report())

    assert [(chunk.name, chunk.closing) for chunk in plan] == [("whole", True)]


def test_horoscope_is_cut_by_month_and_keeps_every_chapter_in_order():
    document = synthetic.horoscope()

    plan = chunks.plan_chunks(document)

    assert len(plan) == 12
    assert chapters_of(plan) == [chapter.id for chapter in document.all_chapters()]
    assert max(chunk.pages_estimate for chunk in plan) <= chunks.CHUNK_PAGES
    assert [chunk.closing for chunk in plan].count(True) == 1
    assert not any(piece.continued for chunk in plan for piece in chunk.slices)


def test_plan_can_be_made_before_anything_is_written():
    document = synthetic.horoscope(days=120)

    early = chunks.plan_chunks(skeleton(document))

    assert [c.slices for c in early] == [c.slices for c in chunks.plan_chunks(document)]


def test_part_that_is_too_long_alone_is_cut_inside():
    document = synthetic.horoscope(days=20)

    plan = chunks.plan_chunks(document, one_go_pages=0, chunk_pages=30)

    continued = [piece for chunk in plan for piece in chunk.slices if piece.continued]
    assert continued
    assert chapters_of(plan) == [chapter.id for chapter in document.all_chapters()]


def test_chunk_input_holds_its_own_chapters_only(tmp_path):
    document = synthetic.horoscope(days=40, answers=1)
    plan = chunks.plan_chunks(document, one_go_pages=0, chunk_pages=10)

    path = chunks.write_chunk_input(document, plan[1], str(tmp_path), GlyphPlan())

    content = json.loads(Path(path).read_text(encoding="utf-8"))
    found = [c["id"] for part in content["parts"] for c in [part["lead"], *part["chapters"]] if c]
    assert found == [name for piece in plan[1].slices for name in piece.chapters]
    assert content["closing"] is None


def test_chunk_of_another_document_is_refused(tmp_path):
    plan = chunks.plan_chunks(synthetic.horoscope(days=3))

    with pytest.raises(MergeError, match="plan again"):
        chunks.write_chunk_input(synthetic.small_report(), plan[0], str(tmp_path), GlyphPlan())


def test_pages_are_numbered_through_front_matter_and_chunks():
    front = CompileResult(path="f", pages=4, anchors={"contents": 2})
    bodies = [
        CompileResult(path="a", pages=10, anchors={"a": 0, "b": 7}),
        CompileResult(path="b", pages=5, anchors={"c": 1}),
    ]

    page_map = chunks.number_pages(front, bodies)

    assert page_map.total == 19
    assert page_map.chunk_pages == (4, 10, 5)
    assert page_map.pages == {"contents": 3, "a": 5, "b": 12, "c": 16}


def test_estimate_is_near_the_real_page_count(whole):
    plan = chunks.plan_chunks(whole.document)

    assert plan[0].pages_estimate == pytest.approx(whole.result.pages, rel=0.35)
