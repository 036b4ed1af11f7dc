"""Reports for tests of the command line: real model calls, no sky and no typesetter."""

from holdfast import App, FatalError, JobContext
from holdfast.apps.reports.models import ReportRequest, ReportResult
from holdfast.llm.client import LLM

app = App()
CALLS = 4


@app.job("life_clarity")
async def life_clarity(job: JobContext, request: ReportRequest) -> ReportResult:
    """Make four model calls one after another and keep what they gave."""
    llm = job.resource(LLM)
    if request.birth.name == "Nobody":
        raise FatalError("nobody has no fate")

    async def write(number: int) -> str:
        return await llm.complete(f"Write section {number} for {request.birth.name}.")

    texts = await job.map("write", list(range(CALLS)), write, concurrency=1)
    content = b"%PDF-" + "\n".join(texts).encode()
    artifact = await job.save_artifact("clarity.pdf", content)
    return ReportResult(
        artifact=artifact.name,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        pages=CALLS,
        answers=CALLS,
        batches=CALLS,
    )
