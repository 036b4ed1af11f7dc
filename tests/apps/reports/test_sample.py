from datetime import time

import pytest

from holdfast.apps.reports import write_report_sample
from holdfast.apps.reports.astro import precompute
from holdfast.apps.reports.clarity import clarity_manifest
from holdfast.apps.reports.manifest import Batch, horoscope_manifest
from holdfast.apps.reports.models import BatchAnswers
from holdfast.apps.reports.sample import write_report_sample as write_sample
from holdfast.apps.reports.writing import (
    batch_prompt,
    check_period,
    check_repetition,
    matched,
    system_prompt,
)
from holdfast.llm.providers.base import ProviderRequest
from tests.apps.reports.conftest import BIRTH, START, report_request


def request_for(batch: Batch, facts) -> ProviderRequest:
    return ProviderRequest(
        call_id="call",
        model="scripted",
        messages=(
            {"role": "system", "content": system_prompt(facts)},
            {"role": "user", "content": batch_prompt(batch, facts)},
        ),
        max_output_tokens=16_000,
    )


def written(batch: Batch, facts) -> list[str]:
    """Return the answers of a batch, checked as a model's would be, and within the exact range."""
    answers = BatchAnswers.model_validate_json(write_sample(request_for(batch, facts)))
    checked = [check_period(period, found) for period, found in matched(batch, answers.periods)]
    check_repetition(batch, checked)
    texts = [answer.answer for period in checked for answer in period.answers]
    low, high = batch.periods[0].words
    assert all(low <= len(text.split()) <= high for text in texts)
    assert answers.sample
    return texts


@pytest.mark.slow
def test_whole_report_has_no_answer_twice(facts):
    texts = [text for batch in horoscope_manifest(report_request()) for text in written(batch, facts)]

    assert len(set(texts)) == len(texts) == 8_600


def test_same_request_gets_the_same_answer(facts):
    batch = horoscope_manifest(report_request())[0]

    assert write_sample(request_for(batch, facts)) == write_sample(request_for(batch, facts))


def test_answers_tell_of_the_day_they_are_about(facts):
    manifest = horoscope_manifest(report_request(days_per_batch=1))
    first_day = next(batch for batch in manifest if batch.kind == "daily")

    texts = " ".join(written(first_day, facts))

    assert "Moon in Cancer" in texts
    assert "16:13 UTC" in texts
    assert "today" in texts


@pytest.mark.parametrize("birth_time", [None, time(23, 59)])
def test_every_kind_of_period_is_written_with_and_without_a_birth_time(birth_time):
    facts = precompute(BIRTH.model_copy(update={"birth_time": birth_time}), START)
    manifest = horoscope_manifest(report_request(days=7))

    for batch in (*manifest, *clarity_manifest(report_request())):
        assert len(written(batch, facts)) == batch.answers


def test_name_without_latin_letters_is_written_for():
    facts = precompute(BIRTH.model_copy(update={"name": "山田 太郎"}), START)

    assert all(written(batch, facts) for batch in horoscope_manifest(report_request(days=1)))


async def test_other_prompts_get_other_sample_text():
    request = ProviderRequest(
        call_id="call",
        model="scripted",
        messages=({"role": "user", "content": "Say something."},),
        max_output_tokens=100,
    )

    assert await write_report_sample(request)


def test_no_sentence_has_an_open_placeholder_or_a_double_stop(facts):
    texts = " ".join(written(horoscope_manifest(report_request())[-1], facts))

    assert not set("{}[]<>") & set(texts)
    assert ".." not in texts
