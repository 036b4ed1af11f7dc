"""Write a manifest with a model: each batch one durable step, whatever does not fit in pieces."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from string import Template

from holdfast.apps.reports.astro import Precomputed
from holdfast.apps.reports.facts import period_facts, person_facts
from holdfast.apps.reports.manifest import Batch, Period, split
from holdfast.apps.reports.models import BatchAnswers, PeriodAnswers, WritingOptions, WrittenBatch
from holdfast.apps.reports.questions import PROMPTS
from holdfast.engine.context import JobContext
from holdfast.engine.mapping import Rounds
from holdfast.errors import FatalError, InvalidResponseError, TruncatedResponseError
from holdfast.llm.client import LLM
from holdfast.model import RetryPolicy

WORDS_TOLERANCE = 0.2
"""An answer may be this much shorter or longer than its range: nobody counts, but halves show."""

WRITING_RETRY = RetryPolicy(attempts=8, malformed_attempts=4)

_PLACEHOLDER = re.compile(
    r"\[[^\]]*\]|\{[^}]*\}|<[^>]*>|\blorem ipsum\b|\bas an ai\b|\bplaceholder\b", re.IGNORECASE
)
_EMPHASIS = re.compile(r"(\*\*|__|`)")


class Written:
    """All answers of a report, by period and number."""

    def __init__(self) -> None:
        self._texts: dict[str, dict[int, str]] = defaultdict(dict)
        self.sample = False
        """Whether any of it was written offline, without a model."""

    def add(self, batch: WrittenBatch) -> None:
        """Take over what was written of a batch."""
        self.sample |= batch.sample
        for period in batch.periods:
            for answer in period.answers:
                self._texts[period.period][answer.question] = answer.answer

    def text(self, period: Period, number: int) -> str:
        """Return one answer; empty while it is not written."""
        return self._texts.get(period.id, {}).get(number, "")

    @property
    def answers(self) -> int:
        """Number of answers."""
        return sum(map(len, self._texts.values()))


async def write_manifest(
    job: JobContext,
    manifest: Sequence[Batch],
    facts: Precomputed,
    options: WritingOptions,
    *,
    concurrency: int | Rounds | None = None,
) -> Written:
    """Write every batch; one that was cut off is written again in smaller pieces.

    Args:
        job: The job.
        manifest: The batches, in the order in which they are begun.
        facts: What is written about.
        options: How to write.
        concurrency: Calls at the same time; None for that of the options.

    Raises:
        StepFailedError: A batch failed for good.
        FatalError: A single answer does not fit into what the model can write in one call.
    """
    writer = Writer(job.resource(LLM), facts, options)
    written = Written()
    waiting = list(manifest)
    while waiting:
        results = await job.map(
            "write",
            waiting,
            writer.write,
            key=lambda batch: batch.id,
            weight=lambda batch: batch.weight,
            label=lambda batch: batch.label,
            concurrency=1 if options.strict_order else concurrency or options.concurrency,
            retry=WRITING_RETRY,
        )
        for result in results:
            written.add(result)
        too_long = [batch for batch, result in zip(waiting, results, strict=True) if result.too_long]
        waiting = [piece for batch in too_long for piece in pieces_of(batch)]
    return written


class Writer:
    """Writes batches of one report: same chart, same instructions, another sky each time."""

    def __init__(self, llm: LLM, facts: Precomputed, options: WritingOptions) -> None:
        self._llm = llm
        self._facts = facts
        self._options = options
        self._system = system_prompt(facts)

    async def write(self, batch: Batch) -> WrittenBatch:
        """Write one batch with one call.

        A cut-off answer is a result, not a failure: it is stored, so that no later attempt pays
        for the same cut-off call again.

        Raises:
            InvalidResponseError: The answers are not what was asked for; another try may be.
        """
        try:
            answers = await self._llm.complete(
                batch_prompt(batch, self._facts),
                output=BatchAnswers,
                system=self._system,
                model=self._options.model,
                max_output_tokens=batch.output_tokens(self._options.output_tokens_max),
                urgency=self._options.urgency,
            )
        except TruncatedResponseError:
            return WrittenBatch(too_long=True)
        return check_batch(batch, answers)


def check_batch(batch: Batch, found: BatchAnswers) -> WrittenBatch:
    """Return what was written of a batch, cleaned, if it is what was asked for.

    Raises:
        InvalidResponseError: It is not; another try may be.
    """
    checked = tuple(check_period(period, answers) for period, answers in matched(batch, found.periods))
    check_repetition(batch, checked)
    return WrittenBatch(periods=checked, sample=found.sample)


def system_prompt(facts: Precomputed) -> str:
    """Return what all calls of a report begin with, to the byte, for the provider's cache."""
    return _template("system.txt").substitute(person=_json(person_facts(facts)))


def batch_prompt(batch: Batch, facts: Precomputed) -> str:
    """Return the part of the prompt that is the batch's own."""
    low, high = batch.periods[0].words
    request = {
        "batch": batch.id,
        "kind": batch.kind,
        "words": [low, high],
        "periods": [period_facts(facts, period) for period in batch.periods],
    }
    count = len(batch.periods)
    return _template("batch.txt").substitute(
        count=batch.answers,
        what="one period" if count == 1 else f"{count} periods",
        low=low,
        high=high,
        request=_json(request),
    )


def check_period(period: Period, found: PeriodAnswers) -> PeriodAnswers:
    """Return the answers of a period, cleaned, if they are what was asked for.

    Raises:
        InvalidResponseError: An answer is missing, out of order, out of range or a placeholder.
    """
    asked = [question.number for question in period.questions]
    given = [answer.question for answer in found.answers]
    if given != asked:
        raise _invalid(period, f"questions {asked} were asked, answers are numbered {given}")
    cleaned = []
    for answer in found.answers:
        text = _EMPHASIS.sub("", answer.answer).strip()
        _check_text(period, answer.question, text)
        cleaned.append(answer.model_copy(update={"answer": text}))
    return PeriodAnswers(period=period.id, answers=tuple(cleaned))


def check_repetition(batch: Batch, periods: Sequence[PeriodAnswers]) -> None:
    """Refuse a batch in which two answers are the same.

    Raises:
        InvalidResponseError: Two are.
    """
    texts = [answer.answer for period in periods for answer in period.answers]
    if len(set(texts)) < len(texts):
        raise InvalidResponseError(
            f"batch {batch.id!r}: {len(texts) - len(set(texts))} answers repeat another one word by word"
        )


def _check_text(period: Period, number: int, text: str) -> None:
    low, high = period.words
    words = len(text.split())
    if not low * (1 - WORDS_TOLERANCE) <= words <= high * (1 + WORDS_TOLERANCE):
        raise _invalid(period, f"answer {number} has {words} words, asked for were {low} to {high}")
    if _PLACEHOLDER.search(text):
        raise _invalid(period, f"answer {number} holds a placeholder or markup")


def matched(batch: Batch, found: Sequence[PeriodAnswers]) -> list[tuple[Period, PeriodAnswers]]:
    """Return each period asked for with what came for it.

    Raises:
        InvalidResponseError: Periods are missing or in another order.
    """
    asked = [period.id for period in batch.periods]
    if len(asked) == len(found) == 1:
        # A lone period cannot be mistaken for another, however it was named.
        return [(batch.periods[0], found[0])]
    given = [period.period for period in found]
    if given != asked:
        raise InvalidResponseError(
            f"batch {batch.id!r}: {len(asked)} periods were asked for in order, {len(given)} came, "
            f"{len(set(asked) & set(given))} of them known"
        )
    return list(zip(batch.periods, found, strict=True))


def pieces_of(batch: Batch) -> tuple[Batch, ...]:
    """Return smaller batches for one that was cut off.

    Raises:
        FatalError: It asks for a single answer.
    """
    pieces = split(batch)
    if pieces == (batch,):
        raise FatalError(
            f"batch {batch.id!r} was cut off although it asks for a single answer; "
            "choose a model that can write more in one call, or raise output_tokens_max"
        )
    return pieces


def _invalid(period: Period, problem: str) -> InvalidResponseError:
    return InvalidResponseError(f"period {period.id!r}: {problem}")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@cache
def _template(name: str) -> Template:
    return Template((PROMPTS / name).read_text(encoding="utf-8"))
