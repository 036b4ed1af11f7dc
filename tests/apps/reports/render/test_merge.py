"""Refusals of the merge; what it makes is tested with the pipeline."""

from pathlib import Path

import pikepdf
import pytest

from holdfast.apps.reports.render import steps
from holdfast.apps.reports.render.errors import MergeError
from holdfast.apps.reports.render.jobs import Body, MergeJob, PageMap
from holdfast.apps.reports.render.merge import merge


@pytest.fixture
def job(chunked, tmp_path) -> MergeJob:
    work = chunked.work_dir
    bodies = sorted(str(path) for path in work.glob("body-*.pdf"))
    counts = [len(pikepdf.open(path).pages) for path in (str(work / "front.pdf"), *bodies)]
    return MergeJob(
        front=str(work / "front.pdf"),
        bodies=tuple(Body(path=path) for path in bodies),
        folios=str(work / "folios.pdf"),
        first_folio=steps.FIRST_FOLIO,
        page_map=PageMap(total=sum(counts), chunk_pages=tuple(counts), pages={}),
        out=str(tmp_path / "out.pdf"),
    )


def test_chunk_with_other_pages_than_planned_is_refused(job):
    counts = (*job.page_map.chunk_pages[:-1], 99)
    wrong = job.model_copy(update={"page_map": job.page_map.model_copy(update={"chunk_pages": counts})})

    with pytest.raises(MergeError, match="the page map says 99"):
        merge(wrong)

    assert not Path(job.out).exists()


def test_link_to_a_chapter_that_no_chunk_holds_is_refused(job):
    counts = job.page_map.chunk_pages[:-1]
    page_map = PageMap(total=sum(counts), chunk_pages=counts, pages={})
    short = job.model_copy(update={"bodies": job.bodies[:-1], "page_map": page_map})

    with pytest.raises(MergeError, match=r"folios|no target"):
        merge(short)


def test_merge_may_run_twice(job):
    first = merge(job)

    assert merge(job) == first
