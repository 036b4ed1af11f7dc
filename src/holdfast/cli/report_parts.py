"""What a report's job has made: one file, or those of a bundle that are ready, each in its own job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.cli.files import save
from holdfast.cli.report_family import children_of
from holdfast.errors import ArtifactError
from holdfast.model import JobStatus

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.cli.report_order import ReportOrder
    from holdfast.engine.client import JobClient
    from holdfast.model import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One report with the job that makes it."""

    product: str
    job: Job
    result: dict[str, Any] | None
    """What the job gave; None if there is no report."""
    file: Path | None
    """Where it goes, if there is one."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.product.replace("_", " ")


async def parts_of_order(client: JobClient, order: ReportOrder, job: Job) -> tuple[Part, ...]:
    """Return each report of an order's job; without those whose jobs were never begun."""
    from holdfast.apps.reports.jobs import parts_of

    begun = {job.job_id, *(child.job_id for child in await children_of(client, job))}
    return tuple(
        [
            _part(order, product, await client.get(job_id))
            for product, job_id in parts_of(order.kind, job.job_id).items()
            if job_id in begun
        ]
    )


def _part(order: ReportOrder, product: str, job: Job) -> Part:
    if job.status is not JobStatus.COMPLETED:
        return Part(product=product, job=job, result=None, file=None)
    result = msgspec.json.decode(job.output or b"{}")
    return Part(product=product, job=job, result=result, file=order.file_of(result))


async def save_part(client: JobClient, part: Part) -> None:
    """Write the file of a report that is ready.

    Raises:
        ArtifactError: Its job has none, or it cannot be read or written.
    """
    if part.file is None or part.result is None:
        return
    name = part.result["artifact"]
    found = [each for each in await client.artifacts(part.job.job_id) if each.name == name]
    if not found:
        raise ArtifactError(
            f"job {part.job.job_id!r} has no file {name!r} though it completed",
            hint=f"look at it with 'holdfast jobs show {part.job.job_id}'",
        )
    await save(client, found[0], part.file)
