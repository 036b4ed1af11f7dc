"""What a product is: one file with an entry of this kind, its prompts and its template."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from holdfast.apps.reports.astro import Precomputed, precompute
from holdfast.apps.reports.manifest import Batch
from holdfast.apps.reports.models import ReportRequest, ReportResult, WritingOptions
from holdfast.apps.reports.printing import check_cover, print_document, remove_folder
from holdfast.apps.reports.render import ReportDocument
from holdfast.apps.reports.terms import ProductTerms
from holdfast.apps.reports.writing import Written, write_manifest
from holdfast.engine.context import JobContext
from holdfast.model import Isolation

SKY: Final = Isolation(memory_bytes=2 * 1024**3, timeout=timedelta(minutes=2))
"""Limits of the astronomy: a year takes about a second and 0.3 GB."""

JobFunction = Callable[[JobContext, ReportRequest], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(ABC):
    """Something that is sold: a job kind with its own queue."""

    kind: str
    title: str
    """What customers call it."""
    soft_limit: timedelta | None = None
    """Time of its own after which the job ends; time of waiting does not count."""

    @property
    def queue(self) -> str:
        """The line its jobs wait in: one for each product, so that a long one delays no short one."""
        return f"reports.{self.kind}"

    @abstractmethod
    def batches(self, request: ReportRequest) -> Sequence[Batch]:
        """Return what will be written for a request whose options are all there."""

    def part_job_ids(self, job_id: str) -> dict[str, str]:
        """Return by product which jobs make the reports of the job `job_id`: itself, or its children.

        They are known before the job has begun, so those of a bundle may not exist yet.
        """
        return {self.kind: job_id}

    @abstractmethod
    def job_function(self, terms: ProductTerms, folder: Path) -> JobFunction:
        """Return the function of its jobs.

        Args:
            terms: Its configuration.
            folder: For intermediate files; jobs use folders of their own in it.
        """


Manifest = Callable[[ReportRequest], Sequence[Batch]]
Write = Callable[[JobContext, Sequence[Batch], Precomputed, WritingOptions], Awaitable[Written]]
Compose = Callable[[ReportRequest, Precomputed, Sequence[Batch], Written], ReportDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedProduct(Product):
    """A product that is one report: what to write, how, and how to put it on paper."""

    file_name: str
    """Name of the PDF among the job's artifacts."""
    manifest: Manifest
    """What to write, in batches with stable ids."""
    compose: Compose
    """How to put it on paper; the document names its template."""
    write: Write = write_manifest
    """How to have it written."""
    batch_size: str | None = None
    """The option that says how much one model call writes; None where that is fixed."""

    def batches(self, request: ReportRequest) -> Sequence[Batch]:
        return self.manifest(request)

    def job_function(self, terms: ProductTerms, folder: Path) -> JobFunction:
        async def report(job: JobContext, request: ReportRequest) -> ReportResult:
            return await make_report(job, request, self, terms, folder / job.job_id)

        return report


async def make_report(
    job: JobContext, asked: ReportRequest, product: PrintedProduct, terms: ProductTerms, folder: Path
) -> ReportResult:
    """Compute the sky, have the texts written, print them, keep the file.

    Nothing is paid for unless the birth data and the name on the cover are good.
    """
    request = await with_all_options(job, asked, terms)
    facts = await facts_for(job, request)
    await check_cover(job, request.birth.name)
    manifest = product.manifest(request)

    written = await product.write(job, manifest, facts, request.options)

    document = await asyncio.to_thread(product.compose, request, facts, manifest, written)
    printed = await print_document(job, document, folder)
    artifact = await job.save_artifact(product.file_name, Path(printed.pdf.path))
    # No step, so that it runs in every attempt: each one lays the folder out again.
    await asyncio.to_thread(remove_folder, str(folder))
    return ReportResult(
        artifact=artifact.name,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        pages=printed.pdf.pages,
        answers=written.answers,
        batches=len(manifest),
        notices=printed.notices,
    )


async def facts_for(job: JobContext, request: ReportRequest) -> Precomputed:
    """Compute the chart, the numbers and the year's sky, in a child process."""
    return await job.step("precompute", precompute, request.birth, request.start, isolate=SKY)


async def with_all_options(job: JobContext, asked: ReportRequest, terms: ProductTerms) -> ReportRequest:
    """Return the request with the options that hold for this job to its end.

    A step, so that a change of the configuration changes no job that has begun: batches keep
    their names.
    """

    async def settle() -> WritingOptions:
        return with_terms(asked, terms).options

    return asked.model_copy(update={"options": await job.step("options", settle)})


def with_terms(asked: ReportRequest, terms: ProductTerms) -> ReportRequest:
    """Return the request with the configured options where it says nothing."""
    return asked.model_copy(update={"options": asked.options.over(terms.writing)})
