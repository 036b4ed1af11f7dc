"""The report jobs: every product is the same four moves, with its own manifest and layout.

A new product is one more entry in `PRODUCTS`: what to write, and how to put it on paper.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from holdfast.apps.reports.astro import Precomputed, precompute
from holdfast.apps.reports.clarity import clarity_manifest, compose_clarity
from holdfast.apps.reports.horoscope import compose_horoscope
from holdfast.apps.reports.manifest import Batch, horoscope_manifest
from holdfast.apps.reports.models import ReportRequest, ReportResult
from holdfast.apps.reports.printing import check_cover, print_document, remove_folder
from holdfast.apps.reports.render import ReportDocument
from holdfast.apps.reports.writing import Written, write_manifest
from holdfast.engine.context import JobContext
from holdfast.engine.registry import Registry
from holdfast.model import Isolation

SKY: Final = Isolation(memory_bytes=2 * 1024**3, timeout=timedelta(minutes=2))
"""Limits of the astronomy: a year takes about a second and 0.3 GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What one kind of report is made of."""

    kind: str
    """Job kind; its queue is `reports.KIND`."""
    file_name: str
    """Name of the PDF among the job's artifacts."""
    manifest: Callable[[ReportRequest], Sequence[Batch]]
    """What to write, in batches with stable ids."""
    compose: Callable[[ReportRequest, Precomputed, Sequence[Batch], Written], ReportDocument]
    """How to put it on paper."""


PRODUCTS: Final = (
    Product(
        kind="personal_horoscope",
        file_name="the-year-ahead.pdf",
        manifest=horoscope_manifest,
        compose=compose_horoscope,
    ),
    Product(
        kind="life_clarity",
        file_name="life-clarity.pdf",
        manifest=clarity_manifest,
        compose=compose_clarity,
    ),
)


async def make_report(
    job: JobContext, request: ReportRequest, product: Product, folder: Path
) -> ReportResult:
    """Compute the sky, have the texts written, print them, keep the file.

    Nothing is paid for unless the birth data and the name on the cover are good.
    """
    facts = await job.step("precompute", precompute, request.birth, request.start, isolate=SKY)
    await check_cover(job, request.birth.name)
    manifest = product.manifest(request)

    written = await write_manifest(job, manifest, facts, request.options)

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


def register_products(registry: Registry, work_dir: Path | None = None) -> None:
    """Register every product as a job kind; see `register_reports`."""
    base = (work_dir or _private_folder()).absolute()
    for product in PRODUCTS:
        registry.add(product.kind, _job_function(product, base), queue=f"reports.{product.kind}")


def _job_function(
    product: Product, base: Path
) -> Callable[[JobContext, ReportRequest], Awaitable[ReportResult]]:
    async def report(job: JobContext, request: ReportRequest) -> ReportResult:
        return await make_report(job, request, product, base / job.job_id)

    return report


def _private_folder() -> Path:
    """Return a folder of this user's own among the temporary files."""
    return Path(tempfile.gettempdir()) / f"holdfast-reports-{os.getuid()}"
