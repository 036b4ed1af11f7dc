"""What a report is made from, what is written for it, and what becomes of it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.json_schema import SkipJsonSchema

from holdfast.apps.reports.astro.models import BirthData
from holdfast.llm import Urgency

DAYS = 365
"""Days of a full horoscope."""
QUESTIONS_PER_PERIOD = 20


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WritingOptions(_Model):
    """How a report is written; what a request does not say, the product's configuration says.

    Only what was said is stored with a job, so that the two can be told apart.
    """

    days: Annotated[int, Field(ge=1, le=DAYS)] = DAYS
    """Days of the horoscope; fewer for a trial."""
    answers_per_period: Annotated[int, Field(ge=1, le=QUESTIONS_PER_PERIOD)] = QUESTIONS_PER_PERIOD
    """Questions answered for each day, week, month and year."""
    days_per_batch: Annotated[int, Field(ge=1, le=31)] = 3
    """Days that one model call writes."""
    weeks_per_batch: Annotated[int, Field(ge=1, le=8)] = 2
    """Weeks that one model call writes."""
    sections_per_batch: Annotated[int, Field(ge=1, le=12)] = 1
    """Sections of a blueprint that one model call writes."""
    sections_per_round: Annotated[int, Field(ge=1, le=52)] = 5
    """Model calls of a blueprint at a time: a round is finished before the next begins."""
    concurrency: Annotated[int, Field(ge=1, le=500)] = 100
    """Model calls at the same time; the provider's limits hold besides."""
    strict_order: bool = False
    """One call after another in the order of print, as the published design did."""
    model: str | None = None
    """Key of the model in the client's configuration; None for its default."""
    urgency: Urgency = "normal"
    """How soon it is needed, against other reports that call the same model."""
    output_tokens_max: Annotated[int, Field(ge=256)] = 16_000
    """The most that the model can write in one call; a batch that needs more is split."""

    @model_serializer(mode="wrap")
    def _what_was_said(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if name in self.model_fields_set}

    def over(self, configured: WritingOptions) -> WritingOptions:
        """Return all options: these where they were said, the product's where they were not."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        return WritingOptions.model_validate(dict(configured) | said)


class ReportRequest(_Model):
    """The input of every report job."""

    birth: BirthData
    """Who was born when and where."""
    start: date
    """First day of the report and its date of issue; the entry point fills in today."""
    options: WritingOptions = WritingOptions()


class ReportResult(_Model):
    """The output of every report job."""

    artifact: str
    """Name of the PDF among the job's artifacts."""
    sha256: str
    size_bytes: int
    pages: int
    answers: int
    batches: int
    """Batches of the manifest: the model calls of an undisturbed job."""
    notices: tuple[str, ...] = ()
    """What could not be printed as it was, for the operator."""


class BundlePart(_Model):
    """One product of a bundle."""

    product: str
    """Its kind."""
    title: str
    job_id: str
    """The child job, which keeps the file."""
    report: ReportResult


class BundleResult(_Model):
    """The output of a bundle job."""

    parts: tuple[BundlePart, ...]
    """In the order in which they are offered."""


class WrittenAnswer(_Model):
    """One answer of a batch."""

    question: int
    """The number of the question in its period."""
    answer: str
    """The answer's text, plain."""


class PeriodAnswers(_Model):
    """The answers of one period, in the order of its questions."""

    period: str
    """The period as named in the request."""
    answers: tuple[WrittenAnswer, ...]


class BatchAnswers(_Model):
    """What one model call returns: the schema of the structured output."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    periods: tuple[PeriodAnswers, ...]
    """All periods of the request, in its order."""
    sample: SkipJsonSchema[bool] = False
    """Set by the offline writer; not in the schema, so that no model is asked for it."""


class WrittenBatch(_Model):
    """What is stored of one batch: its answers, or that it does not fit into one call."""

    periods: tuple[PeriodAnswers, ...] = ()
    too_long: bool = False
    """The model's output was cut off: pieces of the batch are written instead."""
    sample: bool = False
    """Written offline, without a model."""
