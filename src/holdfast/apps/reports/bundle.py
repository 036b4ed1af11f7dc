"""The bundle: all reports in one order, each a job of its own on its own queue.

The coordinator starts them and waits without holding a worker's slot. Cancelling it cancels them,
its budget holds for their calls, and its progress counts theirs. What has become of each part is
its output: the parts that succeeded are delivered whatever became of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from holdfast.apps.reports.manifest import Batch
from holdfast.apps.reports.models import (
    BundlePart,
    BundleResult,
    PartError,
    ReportRequest,
    ReportResult,
)
from holdfast.apps.reports.product import JobFunction, PrintedProduct, Product
from holdfast.apps.reports.terms import ProductTerms
from holdfast.engine.children import Child
from holdfast.engine.context import JobContext
from holdfast.engine.mapping import OnError
from holdfast.errors import HoldfastError, JobFailedError, MapFailedError

OWN_TIME: Final = timedelta(seconds=120)
"""What the coordinator may take itself: it only starts others and reads what they gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(Product):
    """Several reports for one birth, ordered together."""

    parts: tuple[PrintedProduct, ...]

    def batches(self, request: ReportRequest) -> Sequence[Batch]:
        return [batch for part in self.parts for batch in part.batches(request)]

    def job_function(self, terms: ProductTerms, folder: Path) -> JobFunction:
        async def bundle(job: JobContext, request: ReportRequest) -> BundleResult:
            return await deliver(job, request, self)

        return bundle


def bundle_of(*parts: PrintedProduct) -> Bundle:
    """Return the bundle of these reports."""
    return Bundle(kind="bundle", title="The Complete Bundle", soft_limit=OWN_TIME, parts=parts)


async def deliver(job: JobContext, request: ReportRequest, bundle: Bundle) -> BundleResult:
    """Have every part made; the output tells of each what there is, or why there is nothing.

    Raises:
        MapFailedError: No part could be made, so that there is nothing to deliver.
    """
    # A bundle that was put into a line of its own keeps its parts there.
    queue = None if job.queue == bundle.queue else job.queue
    children = [
        await job.spawn(part.kind, part.kind, request, queue=queue, returns=ReportResult)
        for part in bundle.parts
    ]
    failures: dict[str, Exception] = {}
    try:
        await job.gather(*children, on_error=OnError.FINISH)
    except MapFailedError as error:
        if len(error.failures) == len(children):
            raise
        failures = dict(error.failures)
    return BundleResult(
        parts=tuple(
            [
                await _told(part, child, failures.get(child.key))
                for part, child in zip(bundle.parts, children, strict=True)
            ]
        )
    )


async def _told(
    product: PrintedProduct, child: Child[ReportResult], failure: Exception | None
) -> BundlePart:
    part = BundlePart(product=product.kind, title=product.title, job_id=child.job_id)
    if failure is None:
        return part.model_copy(update={"report": await child.result()})
    code = failure.code if isinstance(failure, HoldfastError) else "exception"
    if isinstance(failure, JobFailedError):
        code = failure.failed_with or code
    return part.model_copy(update={"error": PartError(code=code, message=str(failure))})
