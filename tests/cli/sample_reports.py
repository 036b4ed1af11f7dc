"""Reports for tests of the command line: real model calls, no sky and no typesetter."""

from holdfast import App, FatalError, JobContext
from holdfast.apps.reports.bundle import deliver
from holdfast.apps.reports.jobs import BUNDLE
from holdfast.apps.reports.models import BundleResult, ReportRequest, ReportResult
from holdfast.llm.client import LLM

app = App()
CALLS = 4
FATELESS = {"Nobody"}
"""For whom the first report fails."""


@app.job("life_clarity", queue="reports.life_clarity")
async def life_clarity(job: JobContext, request: ReportRequest) -> ReportResult:
    """Make four model calls one after another and keep what they gave."""
    llm = job.resource(LLM)
    if request.birth.name in FATELESS:
        raise FatalError("nobody has no fate")

    async def write(number: int) -> str:
        return await llm.complete(f"Write section {number} for {request.birth.name}.")

    texts = await job.map("write", list(range(CALLS)), write, concurrency=1)
    return await _printed(job, "life-clarity.pdf", texts)


@app.job("personal_blueprint", queue="reports.personal_blueprint")
async def personal_blueprint(job: JobContext, request: ReportRequest) -> ReportResult:
    """Make no call and keep a file."""
    return await _printed(job, "personal-blueprint.pdf", [])


@app.job("personal_horoscope", queue="reports.personal_horoscope")
async def personal_horoscope(job: JobContext, request: ReportRequest) -> ReportResult:
    """Make one call and keep a file."""
    text = await job.step("write/year", job.resource(LLM).complete, "Write the year.")
    return await _printed(job, "the-year-ahead.pdf", [text])


@app.job("bundle", queue="reports.bundle")
async def bundle(job: JobContext, request: ReportRequest) -> BundleResult:
    """Have the other three made."""
    return await deliver(job, request, BUNDLE)


async def _printed(job: JobContext, name: str, texts: list[str]) -> ReportResult:
    content = b"%PDF-" + "\n".join(texts).encode()
    artifact = await job.save_artifact(name, content)
    return ReportResult(
        artifact=artifact.name,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        pages=CALLS,
        answers=CALLS,
        batches=CALLS,
    )
