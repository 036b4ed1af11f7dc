"""The reports application: birth data in, a finished PDF out.

Importing this package is cheap: ephemeris, typesetter and prompts load with the first use.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.apps.reports.models import ReportRequest
    from holdfast.engine.registry import Registry
    from holdfast.llm.providers.base import ProviderRequest

__all__ = ["register_reports", "report_request", "write_report_sample"]


def register_reports(
    registry: Registry, *, work_dir: Path | None = None, terms_file: Path | None = None
) -> tuple[str, ...]:
    """Register every report of the product line as a job kind.

    Args:
        registry: Of the application.
        work_dir: Folder for intermediate files; a private one among the system's temporary
            files by default.
        terms_file: Prices, models, batch sizes, pacing and budgets, where they differ from the
            shipped ones; see `terms.load_terms`.

    Returns:
        The models that products ask for by name.

    Raises:
        ConfigError: The terms cannot be used.
    """
    from holdfast.apps.reports.jobs import register_products
    from holdfast.apps.reports.terms import load_terms, models_of

    terms = load_terms(terms_file)
    register_products(registry, work_dir, terms=terms)
    return models_of(terms)


def report_request(*, name: str, born: str, place: str, start: str, **options: Any) -> ReportRequest:
    """Build a job's input from what a person typed; see `requests.report_request`."""
    from holdfast.apps.reports import requests

    return requests.report_request(name=name, born=born, place=place, start=start, **options)


async def write_report_sample(request: ProviderRequest) -> str:
    """Answer a report's prompt offline, as the writer of a `Scripted` provider."""
    from holdfast.apps.reports import sample

    # Sixty answers take some hundredths of a second: not on the loop of a busy worker.
    return await asyncio.to_thread(sample.write_report_sample, request)
