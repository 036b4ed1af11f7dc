"""One small horoscope, rendered in one go and in chunks, for all tests of this folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.apps.reports.render import RenderResult, ReportDocument, render_report, steps
from tests.apps.reports.render import synthetic


@dataclass(frozen=True)
class Rendered:
    document: ReportDocument
    result: RenderResult
    path: Path
    work_dir: Path


def in_process(name: str, **arguments):
    """Run a step without a process of its own, on the same JSON."""
    return json.loads(json.dumps(steps.STEPS[name](**json.loads(json.dumps(arguments)))))


def render(document: ReportDocument, folder: Path, run=in_process, **options) -> Rendered:
    folder.mkdir(exist_ok=True)
    path = folder / "report.pdf"
    result = render_report(document, path, folder / "work", run=run, **options)
    return Rendered(document, result, path, folder / "work")


@pytest.fixture(scope="session")
def horoscope() -> ReportDocument:
    """Return 40 days with two answers each: a year, two months, six weeks."""
    return synthetic.horoscope(days=40, answers=2)


@pytest.fixture(scope="session")
def whole(horoscope, tmp_path_factory) -> Rendered:
    return render(horoscope, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def chunked(horoscope, tmp_path_factory) -> Rendered:
    """The same report in four chunks, one of which begins in the middle of January."""
    folder = tmp_path_factory.mktemp("chunked")
    return render(horoscope, folder, one_go_pages=0, chunk_pages=22)
