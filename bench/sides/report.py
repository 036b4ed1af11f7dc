"""The report that is written in the measurement: one person, one start, the product's own manifest."""

from datetime import date, time

from holdfast.apps.reports.astro import BirthData, Precomputed, precompute
from holdfast.apps.reports.manifest import Batch, horoscope_manifest
from holdfast.apps.reports.models import ReportRequest, WritingOptions

START = date(2026, 5, 20)


def request(*, days: int, concurrency: int | None) -> ReportRequest:
    """Return the job's input; the product's own concurrency for None."""
    options = WritingOptions(days=days)
    if concurrency is not None:
        options = options.model_copy(update={"concurrency": concurrency})
    birth = BirthData(
        name="Ada Example", birth_date=date(1990, 5, 20), birth_time=time(14, 30), place="Lisbon"
    )
    return ReportRequest(birth=birth, start=START, options=options)


def facts_of(report: ReportRequest) -> Precomputed:
    """Compute the sky, before any clock starts."""
    return precompute(report.birth, report.start)


def manifest_of(report: ReportRequest) -> tuple[Batch, ...]:
    """Return the batches, one model call each."""
    return horoscope_manifest(report)
