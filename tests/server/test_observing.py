"""A log line for each request: enough to find it again, nothing that is nobody's business."""

import json
import logging

import pytest

from holdfast import JobContext
from holdfast.telemetry.logs import json_formatter
from holdfast.testing.signals import eventually

SECRETS = {
    "input": "a-prompt-about-ada",
    "output": "A-PROMPT-ABOUT-ADA",
    "subject": "ada-lovelace-1815",
    "idempotency key": "order-of-ada",
    "header": "Bearer hf_marked",
    "query": "token-in-query",
    "path": "artifact-of-ada.pdf",
}


class Lines(logging.Handler):
    """Everything that is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(json_formatter())
        self.text: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.text.append(self.format(record))

    def events(self, event: str) -> list[dict[str, object]]:
        return [line for line in map(json.loads, self.text) if line["event"] == event]


@pytest.fixture
def lines():
    handler, logger = Lines(), logging.getLogger("holdfast")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


async def logged(lines: Lines, count: int = 1) -> list[dict[str, object]]:
    """Return the lines of requests once there are so many: a request ends after its answer."""
    await eventually(lambda: len(lines.events("request")) >= count)
    return lines.events("request")


async def test_request_is_logged_with_its_route(running, harness, lines):
    job_id = await harness.submit("greet", "ada")
    async with running.http(await running.key()) as http:
        answer = await http.get(f"/api/v1/jobs/{job_id}")

    [line] = await logged(lines)

    duration = line.pop("duration_seconds")
    assert isinstance(duration, float)
    assert 0 < duration < 60
    assert line.pop("at")
    assert line == {
        "level": "info",
        "logger": "holdfast.server.observing",
        "event": "request",
        "method": "GET",
        "route": "/api/v1/jobs/{job_id}",
        "status": 200,
        "job_id": job_id,
        "request_id": answer.headers["x-request-id"],
    }


async def test_request_id_of_the_caller_is_kept_if_it_is_one(running, lines):
    async with running.http() as http:
        kept = await http.get("/nowhere", headers={"X-Request-Id": "from-the-proxy-1"})
        made = await http.get("/nowhere", headers={"X-Request-Id": "<script> or worse"})

    await logged(lines, 2)

    assert kept.headers["x-request-id"] == "from-the-proxy-1"
    assert made.headers["x-request-id"].startswith("req_")


async def test_lines_within_a_request_carry_its_id(running, lines, monkeypatch):
    async def broken(_):
        raise RuntimeError("unexpected")

    monkeypatch.setattr(running.service.store, "get_job", broken)
    async with running.http(await running.key()) as http:
        answer = await http.get("/api/v1/jobs/job_01JDZ8Q7V3T5N9W2X4Y6Z8A0BC")

    [line] = await logged(lines)
    [failure] = lines.events("request failed")

    assert (answer.status_code, line["status"]) == (500, 500)
    assert failure["request_id"] == answer.headers["x-request-id"]


async def test_probes_are_told_at_debug_level(running, lines):
    async with running.http() as http:
        await http.get("/health/live")

    [line] = await logged(lines)

    assert line["level"] == "debug"


async def test_nothing_that_is_somebodys_is_in_any_line(running, harness, lines):
    async def secretive(job: JobContext, prompt: str) -> str:
        return await job.step("whisper", str.upper, prompt)

    async def clumsy(job: JobContext, prompt: str) -> str:
        raise ValueError(prompt)

    harness.job("secretive", secretive)
    harness.job("clumsy", clumsy)
    await harness.start_worker()
    key = await running.key()
    job_id = ""
    token = running.service.tokens.for_job("job_01JDZ8Q7V3T5N9W2X4Y6Z8A0BC")
    async with running.http(key) as http:
        for kind in ("secretive", "clumsy"):
            body = {"kind": kind, "input": SECRETS["input"], "subject": SECRETS["subject"]}
            answer = await http.post(
                "/api/v1/jobs",
                json=body,
                headers={"Idempotency-Key": f"{SECRETS['idempotency key']}/{kind}"},
            )
            job_id = answer.json()["job_id"]
            await harness.end_of(job_id)
        await http.get(f"/api/v1/jobs/{job_id}/artifacts/{SECRETS['path']}?token={token}")
        await http.get(f"/nowhere/{SECRETS['path']}?a={SECRETS['query']}")
        await http.get("/health/live", headers={"Authorization": SECRETS["header"]})
        await http.post("/api/v1/jobs", json={"kind": "secretive", "input": {"bad": SECRETS["input"]}})
        await http.post("/api/v1/jobs", content=SECRETS["input"])

    await logged(lines, 7)
    await eventually(lambda: len(lines.events("attempt settled")) == 2)
    everything = "\n".join(lines.text)

    assert "attempt settled" in everything
    assert [name for name, value in SECRETS.items() if value in everything] == []
    assert key not in everything
    assert token not in everything


async def test_refused_request_is_logged_without_what_it_offered(running, lines):
    async with running.http("hf_0000000000_0000MARKED") as http:
        await http.get("/metrics")

    [line] = await logged(lines)

    assert (line["status"], line["route"]) == (401, "/metrics")
    assert "MARKED" not in "\n".join(lines.text)
