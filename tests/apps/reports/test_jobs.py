from datetime import timedelta
from pathlib import Path

import pikepdf
import pytest

from holdfast.apps.reports.horoscope import compose_horoscope
from holdfast.apps.reports.jobs import BUNDLE, PRODUCTS
from holdfast.apps.reports.manifest import horoscope_manifest
from holdfast.apps.reports.models import ReportRequest, ReportResult
from holdfast.apps.reports.printing import print_document, remove_folder
from holdfast.apps.reports.render import chunks
from holdfast.apps.reports.writing import Written
from holdfast.engine.context import JobContext
from holdfast.errors import JobFailedError, RetryLaterError
from holdfast.model import Job, RetryPolicy
from holdfast.testing.harness import Harness
from tests.apps.reports.conftest import BIRTH, START, report_request


async def end_of(harness: Harness, job_id: str) -> Job:
    # Not `harness.end_of`: typesetting on a busy machine outlasts its patience.
    return await harness.client.wait(job_id)


async def steps_of(harness, job_id: str) -> set[str]:
    found = await harness.client.records(job_id)
    return {checkpoint.key for checkpoint in found.checkpoints}


def test_every_product_has_its_own_queue_file_and_budget(harness):
    kinds = [harness.registry.get(product.kind) for product in PRODUCTS]

    assert [kind.queue for kind in kinds] == [
        "reports.life_clarity",
        "reports.personal_blueprint",
        "reports.personal_horoscope",
        "reports.bundle",
    ]
    assert len({product.file_name for product in BUNDLE.parts}) == len(PRODUCTS) - 1
    assert all(kind.budget.tokens for kind in kinds)
    assert harness.registry.get("bundle").soft_limit == timedelta(seconds=120)


@pytest.mark.slow
async def test_horoscope_becomes_a_pdf_and_leaves_nothing_behind(harness, desk, tmp_path):
    await harness.start_worker()

    job_id = await harness.submit("personal_horoscope", report_request(days=2, answers_per_period=2))
    job = await end_of(harness, job_id)
    result = harness.client.output_of(job)

    assert isinstance(result, ReportResult)
    assert (result.answers, result.batches) == (10, len(desk.batches))
    path = tmp_path / "out.pdf"
    path.write_bytes(await harness.artifacts.get_bytes(result.sha256))
    with pikepdf.open(path) as pdf:
        assert len(pdf.pages) == result.pages
    assert not (tmp_path / "work" / job_id).exists()


@pytest.mark.slow
async def test_life_clarity_takes_four_calls_and_15_to_25_pages(harness, desk, quick_sky):
    await harness.start_worker()

    job_id = await harness.submit("life_clarity", report_request())
    result = harness.client.output_of(await end_of(harness, job_id))

    assert sorted(desk.batches) == ["career", "emotional", "growth", "identity"]
    assert 15 <= result.pages <= 25
    assert result.artifact == "life-clarity.pdf"


async def test_unusable_birth_data_fail_before_any_model_call(harness, desk):
    await harness.start_worker()
    birth = BIRTH.model_copy(update={"birth_date": START + timedelta(days=1)})

    job_id = await harness.submit("life_clarity", ReportRequest(birth=birth, start=START))
    job = await end_of(harness, job_id)

    with pytest.raises(JobFailedError, match="InvalidBirthError"):
        harness.client.output_of(job)

    assert desk.batches == []


async def test_name_that_no_font_can_print_fails_before_any_model_call(harness, desk, quick_sky):
    await harness.start_worker()
    birth = BIRTH.model_copy(update={"name": "\U00012000\U00012001"})

    job_id = await harness.submit("life_clarity", ReportRequest(birth=birth, start=START))
    job = await end_of(harness, job_id)

    with pytest.raises(JobFailedError, match="cannot be printed"):
        harness.client.output_of(job)

    assert desk.batches == []


@pytest.mark.slow
async def test_retried_report_pays_for_the_missing_batch_alone(harness, desk, quick_sky):
    desk.errors["career"] = [ValueError("the provider's day is bad")]
    await harness.start_worker()
    job_id = await harness.submit("life_clarity", report_request())
    await end_of(harness, job_id)
    before = len(desk.batches)

    await harness.client.retry(job_id)
    job = await end_of(harness, job_id)

    assert job.status == "completed"
    assert desk.batches[before:] == ["career"]


@pytest.mark.slow
@pytest.mark.parametrize("cut", [{}, {"one_go_pages": 0, "chunk_pages": 8}])
async def test_files_lost_with_a_machine_are_printed_again(harness, facts, tmp_path, monkeypatch, cut):
    """The second edition is the same to the byte, whole or in chunks."""
    limits = {"one_go_pages": chunks.ONE_GO_PAGES, "chunk_pages": chunks.CHUNK_PAGES}
    monkeypatch.setattr(chunks.plan_chunks, "__kwdefaults__", limits | cut)
    request = report_request(days=1, answers_per_period=1)
    document = compose_horoscope(request, facts, horoscope_manifest(request), Written())
    printed: list[str] = []

    async def lose_once(job: JobContext) -> None:
        found = await print_document(job, document, tmp_path / "press")
        printed.append(found.pdf.sha256)
        if len(printed) == 1:
            remove_folder(str(tmp_path / "press"))
            raise RetryLaterError("the machine is gone", retry_after=timedelta())

    harness.job("lose", lose_once, retry=RetryPolicy(attempts=2))
    await harness.start_worker()

    job_id = await harness.submit("lose")
    job = await end_of(harness, job_id)

    harness.client.output_of(job)
    assert len(printed) == 2
    assert len(set(printed)) == 1
    assert (tmp_path / "press" / "report.pdf").exists()
    editions = {key.partition("/")[0] for key in await steps_of(harness, job_id) if "/" in key}
    assert editions == {"print-1", "print-2"}


async def test_cancelled_print_leaves_no_folder(harness, facts, tmp_path):
    folder = tmp_path / "press"

    async def fail(job: JobContext) -> None:
        await job.step("open-folder", _make, str(folder), undo=remove_folder)
        raise ValueError("bad luck")

    harness.job("fail", fail)
    await harness.start_worker()

    with pytest.raises(JobFailedError):
        await harness.run("fail")

    assert not folder.exists()


def _make(folder: str) -> None:
    Path(folder).mkdir()
