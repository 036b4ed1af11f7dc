"""Typeset a report: a validated document in, a tagged, bookmarked and numbered PDF out.

The package knows nothing of jobs, models or orders.  `render_report` does everything; a durable
engine runs the same parts one by one from `chunks` and `steps`.
"""

from holdfast.apps.reports.render.document import ReportDocument
from holdfast.apps.reports.render.errors import (
    CompileError,
    MergeError,
    MissingGlyphError,
    RenderError,
)
from holdfast.apps.reports.render.pipeline import RenderResult, render_report

__all__ = [
    "CompileError",
    "MergeError",
    "MissingGlyphError",
    "RenderError",
    "RenderResult",
    "ReportDocument",
    "render_report",
]
