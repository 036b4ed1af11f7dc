"""The experiment with batch sizes: the same report written twice, in other pieces, and measured.

A draft is written like the real report, by the same prompts and with the same checks, but is not
printed. What it costs and how long it takes stands in its job; what it reads like is measured
here. Larger batches share more of a prompt and let a model keep answers apart; whether that shows
is for the figures to say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from holdfast.apps.reports.jobs import PRODUCTS, product_of
from holdfast.apps.reports.manifest import Batch
from holdfast.apps.reports.models import ReportRequest, WritingOptions
from holdfast.apps.reports.product import PrintedProduct, facts_for, with_terms
from holdfast.apps.reports.terms import load_terms
from holdfast.apps.reports.writing import Written
from holdfast.codec import describe_invalid
from holdfast.engine.context import JobContext
from holdfast.engine.registry import Registry
from holdfast.errors import InvalidInputError
from holdfast.model import RetryPolicy

DRAFT: Final = "report_draft"
"""Kind of the jobs of an experiment; registered where one is made, and nowhere else."""
NGRAM: Final = 5
"""Words in a row that count as a repetition when they come again."""
OPENING: Final = 3
"""Words in a row that an answer opens with."""

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


class DraftRequest(BaseModel):
    """What one job of an experiment writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    batch_size: int
    """Days or sections that one model call writes."""
    request: ReportRequest


class TextFigures(BaseModel):
    """What a report reads like, in numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers: int
    words: int
    words_mean: float
    """Words of an answer."""
    words_min: int
    words_max: int
    in_range_share: float
    """Answers within the exact word range; those a little off are accepted, too."""
    repeated_ngrams_share: float
    """Runs of `NGRAM` words that stood somewhere in the report before."""
    repeated_openings_share: float
    """Answers that open with the same `OPENING` words as an earlier one."""


class Draft(BaseModel):
    """The output of one job of an experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    batch_size: int
    batches: int
    """Calls that an undisturbed job makes."""
    text: TextFigures


def drafts_of(kind: str, request: ReportRequest, sizes: Sequence[int]) -> tuple[DraftRequest, ...]:
    """Return what to write for an experiment: the same report in batches of each size.

    Raises:
        InvalidInputError: The product has no batch size, or a size cannot be used.
    """
    product = _product(kind)
    if len(set(sizes)) < 2:
        raise InvalidInputError(f"an experiment with the sizes {list(sizes)}", hint="give two or more")
    return tuple(
        DraftRequest(product=kind, batch_size=size, request=_with_size(request, product, size))
        for size in sizes
    )


def register_drafts(registry: Registry, *, terms_file: Path | None = None) -> None:
    """Register the job kind of experiments.

    Raises:
        ConfigError: The terms cannot be used.
    """
    terms = load_terms(terms_file)

    async def draft(job: JobContext, asked: DraftRequest) -> Draft:
        return await write_draft(job, asked, with_terms(asked.request, terms[asked.product]))

    registry.add(DRAFT, draft, retry=RetryPolicy(attempts=1))


async def write_draft(job: JobContext, asked: DraftRequest, request: ReportRequest) -> Draft:
    """Have a report written as its product does, and measure the texts."""
    product = _product(asked.product)
    facts = await facts_for(job, request)
    manifest = product.manifest(request)
    written = await product.write(job, manifest, facts, request.options)
    return Draft(
        product=asked.product,
        batch_size=asked.batch_size,
        batches=len(manifest),
        text=measure(manifest, written),
    )


def measure(manifest: Iterable[Batch], written: Written) -> TextFigures:
    """Measure the texts of a report, in the order of print."""
    found = [
        (written.text(period, question.number), period.words)
        for period in sorted(
            (period for batch in manifest for period in batch.periods), key=lambda each: each.id
        )
        for question in period.questions
    ]
    counts = [len(text.split()) for text, _ in found]
    words = [[word.casefold() for word in _WORD.findall(text)] for text, _ in found]
    ngrams = [tuple(text[at : at + NGRAM]) for text in words for at in range(len(text) - NGRAM + 1)]
    return TextFigures(
        answers=len(found),
        words=sum(counts),
        words_mean=round(sum(counts) / len(counts), 1),
        words_min=min(counts),
        words_max=max(counts),
        in_range_share=_share(
            sum(low <= count <= high for count, (_, (low, high)) in zip(counts, found, strict=True)),
            len(found),
        ),
        repeated_ngrams_share=_repeated(ngrams),
        repeated_openings_share=_repeated([tuple(text[:OPENING]) for text in words]),
    )


def _repeated(items: Sequence[tuple[str, ...]]) -> float:
    """Return the share of items that came before."""
    return _share(sum(count - 1 for count in Counter(items).values()), len(items))


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _product(kind: str) -> PrintedProduct:
    found = product_of(kind)
    if isinstance(found, PrintedProduct) and found.batch_size is not None:
        return found
    fit = ", ".join(
        repr(each.kind) for each in PRODUCTS if isinstance(each, PrintedProduct) and each.batch_size
    )
    raise InvalidInputError(
        f"{kind!r} has no batch size to experiment with", hint=f"choose one of {fit}"
    )


def _with_size(request: ReportRequest, product: PrintedProduct, size: int) -> ReportRequest:
    said = request.options.model_dump() | {str(product.batch_size): size}
    try:
        return request.model_copy(update={"options": WritingOptions.model_validate(said)})
    except ValidationError as error:
        raise InvalidInputError(
            f"batches of {size} cannot be written: {describe_invalid(error)}"
        ) from None
