import json

import pytest

from holdfast.apps.reports.manifest import Batch, horoscope_manifest
from holdfast.apps.reports.models import (
    BatchAnswers,
    PeriodAnswers,
    WritingOptions,
    WrittenAnswer,
    WrittenBatch,
)
from holdfast.apps.reports.writing import (
    Writer,
    batch_prompt,
    check_period,
    check_repetition,
    matched,
    system_prompt,
    write_manifest,
)
from holdfast.engine.context import JobContext
from holdfast.errors import InvalidResponseError, JobFailedError
from holdfast.llm.structured import output_type
from tests.apps.reports.conftest import report_request

OPTIONS = WritingOptions(days=3, answers_per_period=4)


@pytest.fixture
def batch() -> Batch:
    return horoscope_manifest(report_request(days=3, answers_per_period=4))[0]


def answers_of(batch: Batch, text: str = "word") -> PeriodAnswers:
    period = batch.periods[0]
    return PeriodAnswers(
        period=period.id,
        answers=tuple(
            WrittenAnswer(question=question.number, answer=" ".join([text] * (100 + question.number)))
            for question in period.questions
        ),
    )


def with_text(batch: Batch, text: str) -> PeriodAnswers:
    found = answers_of(batch)
    first = found.answers[0].model_copy(update={"answer": text})
    return found.model_copy(update={"answers": (first, *found.answers[1:])})


def test_schema_for_the_model_is_strict_and_does_not_speak_of_samples():
    schema = output_type(BatchAnswers).schema

    assert schema.strict
    assert "sample" not in json.dumps(schema.schema)


def test_good_answers_pass_and_lose_emphasis_marks(batch):
    found = check_period(batch.periods[0], with_text(batch, "**word** " * 100))

    assert found.answers[0].answer == " ".join(["word"] * 100)


@pytest.mark.parametrize(
    "text",
    [
        "word " * 63,
        "word " * 181,
        "",
        "word " * 90 + "[insert name]",
        "word " * 90 + "{{name}}",
        "word " * 90 + "Lorem ipsum",
        "<p>" + "word " * 90,
    ],
)
def test_answer_out_of_range_or_with_a_placeholder_is_malformed(batch, text):
    with pytest.raises(InvalidResponseError, match="2026-05-20") as caught:
        check_period(batch.periods[0], with_text(batch, text))

    assert caught.value.malformed
    assert "word word" not in str(caught.value)


@pytest.mark.parametrize("change", [lambda a: a[1:], lambda a: a[::-1], lambda a: (*a, a[0])])
def test_missing_unordered_or_extra_answers_are_malformed(batch, change):
    found = answers_of(batch)

    with pytest.raises(InvalidResponseError, match="questions"):
        check_period(batch.periods[0], found.model_copy(update={"answers": change(found.answers)}))


def test_repeated_answer_is_malformed(batch):
    found = answers_of(batch)

    with pytest.raises(InvalidResponseError, match="repeat"):
        check_repetition(batch, [found, found])


def test_prompts_carry_the_sky_but_nothing_personal(batch, facts):
    prompts = system_prompt(facts) + batch_prompt(batch, facts)

    assert "Mars" in prompts
    assert "80 to 150 words" in prompts
    for personal in ("Amélie", "Hartmann", "Lisbon", "1990", "07:25 on", "38.7"):
        assert personal not in prompts


def test_all_calls_of_a_report_begin_with_the_same_text(facts):
    assert system_prompt(facts) == system_prompt(facts.model_copy(deep=True))


def test_later_day_has_its_own_sky(facts):
    batches = horoscope_manifest(report_request())

    assert len({batch_prompt(batch, facts) for batch in batches}) == len(batches)


async def test_cut_off_batch_is_a_result_and_not_a_failure(llm, desk, facts, batch):
    desk.questions_max = 3

    written = await Writer(llm, facts, OPTIONS).write(batch)

    assert written == WrittenBatch(too_long=True)
    await llm.close()


def test_periods_in_another_order_are_malformed(batch):
    found = [PeriodAnswers(period=period.id, answers=()) for period in batch.periods]

    with pytest.raises(InvalidResponseError, match="periods"):
        matched(batch, found[::-1])


def test_lone_period_is_taken_whatever_it_is_called(batch):
    lone = batch.model_copy(update={"periods": batch.periods[:1]})
    found = PeriodAnswers(period="Wednesday", answers=())

    assert matched(lone, [found]) == [(batch.periods[0], found)]


def register_writing(harness, facts, options: WritingOptions) -> list[Batch]:
    manifest = list(horoscope_manifest(report_request(**options.model_dump(exclude_defaults=True))))

    async def write(job: JobContext) -> list[str]:
        written = await write_manifest(job, manifest, facts, options)
        return [
            written.text(period, question.number)
            for batch in manifest
            for period in batch.periods
            for question in period.questions
        ]

    harness.job("write", write)
    return manifest


async def test_batches_that_are_cut_off_are_written_in_pieces(harness, desk, facts):
    manifest = register_writing(harness, facts, OPTIONS)
    desk.questions_max = 2
    await harness.start_worker()

    texts = await harness.run("write")

    assert len(texts) == sum(batch.answers for batch in manifest)
    assert all(texts)
    assert "daily_2026-05-20/a/b" in desk.batches


async def test_pieces_are_durable_and_the_cut_off_call_is_not_paid_again(harness, desk, facts):
    """After a failure in a piece, a retry asks for that piece alone."""
    register_writing(harness, facts, OPTIONS)
    desk.questions_max = 4
    desk.errors["daily_2026-05-20/b"] = [ValueError("the provider's day is bad")]
    await harness.start_worker()
    job_id = await harness.submit("write")
    failed = await harness.end_of(job_id)
    before = list(desk.batches)

    await harness.client.retry(job_id)
    finished = await harness.end_of(job_id)

    assert (failed.status, finished.status) == ("failed", "completed")
    assert "daily_2026-05-20" in before
    assert "daily_2026-05-20/b" in desk.batches[len(before) :]
    assert not set(desk.batches[len(before) :]) & (set(before) - {"daily_2026-05-20/b"})


async def test_malformed_batch_is_asked_for_again(harness, desk, facts):
    register_writing(harness, facts, OPTIONS)
    desk.errors["yearly_2026"] = [InvalidResponseError("not what was asked")]
    await harness.start_worker()

    await harness.run("write")

    assert desk.batches.count("yearly_2026") == 2


async def test_single_answer_that_is_cut_off_fails_with_advice(harness, desk, facts):
    register_writing(harness, facts, WritingOptions(days=1, answers_per_period=1))
    desk.questions_max = 0
    await harness.start_worker()

    with pytest.raises(JobFailedError, match="single answer"):
        await harness.run("write")


async def test_strict_order_asks_for_one_batch_after_another(harness, desk, facts):
    options = WritingOptions(days=9, answers_per_period=1, strict_order=True)
    manifest = register_writing(harness, facts, options)
    await harness.start_worker()

    await harness.run("write")

    assert desk.batches == [batch.id for batch in manifest]
