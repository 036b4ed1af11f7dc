"""The bundle: all reports in one order, each a job of its own on its own queue.

The coordinator starts them and waits without holding a worker's slot. Cancelling it cancels them,
its budget holds for their calls, and its progress counts theirs. It ends when the last of them
has: completed if all are, failed otherwise. What is ready stays in its own job either way, to be
delivered from there, and a retry of the bundle makes only what failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from holdfast.apps.reports.manifest import Batch
from holdfast.apps.reports.models import BundlePart, BundleResult, ReportRequest, ReportResult
from holdfast.apps.reports.product import JobFunction, PrintedProduct, Product
from holdfast.apps.reports.terms import ProductTerms
from holdfast.engine.context import JobContext
from holdfast.engine.mapping import OnError
from holdfast.errors import BundleIncompleteError, MapFailedError
from holdfast.ids import child_id

OWN_TIME: Final = timedelta(seconds=120)
"""What the coordinator may take itself: it only starts others and reads what they gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(Product):
    """Several reports for one birth, ordered together."""

    parts: tuple[PrintedProduct, ...]

    def batches(self, request: ReportRequest) -> Sequence[Batch]:
        return [batch for part in self.parts for batch in part.batches(request)]

    def part_job_ids(self, job_id: str) -> dict[str, str]:
        return {part.kind: child_id(job_id, part.kind) for part in self.parts}

    def job_function(self, terms: ProductTerms, folder: Path) -> JobFunction:
        async def bundle(job: JobContext, request: ReportRequest) -> BundleResult:
            return await deliver(job, request, self)

        return bundle


def bundle_of(*parts: PrintedProduct) -> Bundle:
    """Return the bundle of these reports."""
    return Bundle(kind="bundle", title="The Complete Bundle", soft_limit=OWN_TIME, parts=parts)


async def deliver(job: JobContext, request: ReportRequest, bundle: Bundle) -> BundleResult:
    """Have every part made, each to its own end.

    Raises:
        BundleIncompleteError: Some parts could not be made; all have ended.
    """
    # A bundle that was put into a line of its own keeps its parts there.
    queue = None if job.queue == bundle.queue else job.queue
    children = [
        await job.spawn(part.kind, part.kind, request, queue=queue, returns=ReportResult)
        for part in bundle.parts
    ]
    try:
        reports = await job.gather(*children, on_error=OnError.FINISH)
    except MapFailedError as error:
        # What they failed with is told by their own jobs: it may quote what a customer typed.
        failed = tuple(part.kind for part in bundle.parts if part.kind in error.failures)
        raise BundleIncompleteError(failed=failed, total=len(children)) from None
    made = zip(bundle.parts, children, reports, strict=True)
    return BundleResult(
        parts=tuple(
            BundlePart(product=part.kind, title=part.title, job_id=child.job_id, report=report)
            for part, child, report in made
        )
    )
