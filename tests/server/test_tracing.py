"""A trace from the request that submits a job to the calls that the job pays for."""

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from holdfast import FatalError, JobContext
from holdfast.llm import LLM, LLMConfig, ModelConfig
from holdfast.llm.config import FREE
from holdfast.llm.providers.scripted import Scripted
from holdfast.testing.signals import eventually
from tests.spans import recording

SECRET = "the prompt that nobody else may read"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


async def report(job: JobContext, topic: str) -> str:
    llm = job.resource(LLM)
    outline: str = await job.step("outline", llm.complete, f"{SECRET}: {topic}")
    await job.gather(await job.spawn("part", "traced-part", "one"))
    return outline[:10]


async def child(job: JobContext, name: str) -> str:
    return await job.step(f"draft/{name}", str.upper, name)


async def fails(job: JobContext) -> None:
    async def burst() -> None:
        raise FatalError(SECRET)

    await job.step("burst", burst)


@pytest.fixture
async def kinds(harness):
    harness.job("traced-report", report)
    harness.job("traced-part", child)
    harness.job("breaks", fails)
    model = ModelConfig(model="scripted-1", provider="scripted", price=FREE)
    llm = LLM(
        LLMConfig.single(model),
        {"scripted": Scripted(clock=harness.clock)},
        lanes=harness.store,
        ledger=harness.store,
    )
    harness.services.resources[LLM] = llm
    yield
    await llm.close()


async def submit(running, kind: str, value: object = None, **headers: str) -> str:
    async with running.http(await running.key()) as http:
        answer = await http.post("/api/v1/jobs", json={"kind": kind, "input": value}, headers=headers)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


async def test_one_trace_leads_from_the_request_to_the_provider(running, harness, kinds):
    with recording() as spans:
        await harness.start_worker()
        job = await harness.end_of(
            await submit(running, "traced-report", "tides", traceparent=TRACEPARENT)
        )
        # A request ends after its answer, an attempt after its job.
        await eventually(lambda: spans.names().count("job.attempt traced-report") == 2)
        await eventually(lambda: "POST /api/v1/jobs" in spans.names())

    assert job.status == "completed"
    assert spans.trace_ids() == {TRACE_ID}
    assert spans.parent_id_of("POST /api/v1/jobs") == "00f067aa0ba902b7"
    assert spans.parent_of("job.submit traced-report") == "POST /api/v1/jobs"
    first, second = (span for span in spans.all() if span.name == "job.attempt traced-report")
    submitted = spans.one("job.submit traced-report").context.span_id
    assert [first.parent.span_id, second.parent.span_id] == [submitted, submitted]
    assert spans.parent_of("step outline") == "job.attempt traced-report"
    assert spans.parent_of("chat scripted-1") == "step outline"
    # The child goes on with its parent's trace.
    assert spans.parent_of("job.attempt traced-part") == "job.attempt traced-report"
    assert spans.parent_of("step draft") == "job.attempt traced-part"


async def test_spans_say_what_they_are_and_hold_no_content(running, harness, kinds):
    with recording() as spans:
        await harness.start_worker()
        job_id = await submit(running, "traced-report", "tides")
        await harness.end_of(job_id)
        await eventually(lambda: "POST /api/v1/jobs" in spans.names())

    request = spans.one("POST /api/v1/jobs")
    assert request.kind is SpanKind.SERVER
    assert request.attributes["http.route"] == "/api/v1/jobs"
    assert request.attributes["http.response.status_code"] == 202
    assert spans.one("job.submit traced-report").kind is SpanKind.PRODUCER
    chat = spans.one("chat scripted-1")
    assert chat.kind is SpanKind.CLIENT
    assert chat.attributes["gen_ai.operation.name"] == "chat"
    assert chat.attributes["gen_ai.provider.name"] == "scripted"
    assert chat.attributes["gen_ai.request.model"] == "scripted-1"
    assert chat.attributes["gen_ai.usage.input_tokens"] > 0
    assert chat.attributes["gen_ai.usage.output_tokens"] > 0
    assert spans.one("step draft").attributes["holdfast.step.key"] == "draft/one"
    attempt = next(span for span in spans.all() if span.name == "job.attempt traced-report")
    assert attempt.kind is SpanKind.CONSUMER
    assert attempt.attributes["holdfast.job.id"] == job_id
    assert SECRET not in "".join(span.to_json() for span in spans.all())


async def test_framework_adds_no_spans_of_its_own(running, harness, kinds):
    """They would hold the query, and with it a job's token."""
    assert running.api._native_telemetry.config["tracing"] is False
    assert not running.api._native_telemetry.enabled()


async def test_what_failed_is_marked_by_its_code_alone(running, harness, kinds):
    with recording() as spans:
        await harness.start_worker()
        await harness.end_of(await submit(running, "breaks"))
        await eventually(lambda: "job.attempt breaks" in spans.names())

    step, attempt = spans.one("step burst"), spans.one("job.attempt breaks")
    assert (step.status.status_code, step.attributes["error.type"]) == (StatusCode.ERROR, "fatal")
    assert attempt.attributes["holdfast.job.status"] == "failed"
    assert attempt.status.status_code is StatusCode.ERROR
    assert SECRET not in step.to_json() + attempt.to_json()


async def test_trace_goes_on_where_nobody_records(running, harness, kinds):
    """The service may have no SDK where workers have one: the job carries the caller's trace."""
    job_id = await submit(running, "breaks", traceparent=TRACEPARENT)

    assert (await harness.store.get_job(job_id)).traceparent == TRACEPARENT


async def test_job_outside_of_any_trace_has_none(running, harness, kinds):
    job_id = await submit(running, "breaks", traceparent="not one")

    assert (await harness.store.get_job(job_id)).traceparent is None


async def test_trace_that_is_not_sampled_stays_so(running, harness, kinds):
    """Nothing below a job that is left out begins a trace of its own."""
    with recording(sampler=ALWAYS_OFF) as spans:
        await harness.start_worker()
        job = await harness.end_of(await submit(running, "traced-report", "tides"))

    assert int((job.traceparent or "").rpartition("-")[2], 16) & 1 == 0
    assert spans.all() == []


async def test_forked_job_belongs_to_the_trace_of_the_fork(running, harness, kinds):
    job_id = await submit(running, "breaks")

    with recording() as spans:
        forked = await harness.client.fork(job_id)

    assert (forked.traceparent or "").split("-")[2] == spans.id_of("job.fork breaks")
