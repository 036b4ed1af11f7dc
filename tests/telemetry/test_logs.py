import io
import json
import logging
import sys
from types import SimpleNamespace

import pytest
import structlog

from holdfast import JobContext
from holdfast.model import Lease
from holdfast.scope import StepScope, enter_attempt, enter_step, leave_step
from holdfast.telemetry import configure_logging, logs
from holdfast.telemetry.logs import bound_fields, json_formatter, text_formatter
from holdfast.testing.harness import Harness
from holdfast.testing.signals import eventually
from tests.spans import recording


def record(message="lease lost", *, error=False, **fields):
    made = logging.LogRecord("holdfast.engine", logging.WARNING, "f.py", 1, message, (), None)
    if error:
        try:
            secret = "a local value"
            raise ValueError(f"x{secret[:0]}")
        except ValueError:
            made.exc_info = sys.exc_info()
    vars(made).update(fields)
    return made


def as_json(made: logging.LogRecord) -> dict[str, object]:
    line: dict[str, object] = json.loads(json_formatter().format(made))
    assert line.pop("at")
    return line


@pytest.fixture
def restored():
    loggers = [logging.getLogger(name) for name in ("holdfast", *logs._LIBRARIES, "psycopg")]
    before = [(one.handlers[:], one.level, one.propagate) for one in loggers]
    yield loggers[0]
    for one, (handlers, level, propagate) in zip(loggers, before, strict=True):
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


# form ----------------------------------------------------------------------------------------


def test_json_line_begins_with_when_what_and_where_and_holds_the_fields():
    text = json_formatter().format(record(job_id="job_x", where=object))

    assert list(json.loads(text)) == ["at", "level", "logger", "event", "job_id", "where"]
    assert as_json(record(job_id="job_x", where=object)) == {
        "level": "warning",
        "logger": "holdfast.engine",
        "event": "lease lost",
        "job_id": "job_x",
        "where": "<class 'object'>",
    }


def test_exception_is_told_without_local_values():
    for text in (
        json_formatter().format(record(error=True)),
        text_formatter(True).format(record(error=True)),
    ):
        assert "ValueError: x" in text
        assert "a local value" not in text


def test_text_line_is_for_people():
    plain = text_formatter(False)

    assert plain.format(record(job_id="job_x", epoch=2)) == "warning: lease lost job_id=job_x epoch=2"
    assert plain.format(record()) == "warning: lease lost"
    assert plain.format(record(error=True)).endswith("ValueError: x")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "colours"), [(Terminal(), True), (io.StringIO(), False)])
def test_colours_are_for_terminals(restored, monkeypatch, stream, colours):
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("info", "text")

    restored.info("ready", extra={"slots": 3})

    assert ("\x1b[" in stream.getvalue()) is colours
    assert "ready" in stream.getvalue()


@pytest.mark.parametrize("style", ["json", "text"])
def test_logs_go_to_stderr_once_however_often_configured(restored, capsys, style):
    configure_logging("info", style)
    configure_logging("info", style)

    restored.info("ready")
    logging.getLogger("uvicorn.error").warning("from a library")

    assert capsys.readouterr().err.count("ready") == 1
    assert (restored.level, restored.propagate) == (logging.INFO, False)


def test_warnings_of_libraries_are_written_as_ours(restored, capsys):
    configure_logging("info", "json")

    logging.getLogger("opentelemetry.sdk").warning("queue full")
    logging.getLogger("opentelemetry.sdk").info("nobody cares")

    [line] = capsys.readouterr().err.splitlines()
    assert (json.loads(line)["logger"], json.loads(line)["event"]) == ("opentelemetry.sdk", "queue full")


# what a line belongs to -----------------------------------------------------------------------


@pytest.fixture
def scope():
    scope = StepScope(
        lease=Lease(job_id="job_1", epoch=1, worker_id="worker_1", row=1),
        kind="report",
        step_key="outline",
        step_attempt=2,
        priority=0,
        tenant="acme",
        owe=lambda *_: None,
        emit=lambda *_: None,
        emit_delta=lambda _: None,
    )
    token = enter_step(scope)
    yield scope
    leave_step(token)


def test_line_within_a_step_says_which(scope):
    assert as_json(record()) == {
        "level": "warning",
        "logger": "holdfast.engine",
        "event": "lease lost",
        "job_id": "job_1",
        "kind": "report",
        "step_key": "outline",
        "step_attempt": 2,
        "tenant": "acme",
    }


def test_what_the_call_says_wins(scope):
    line = as_json(record(job_id="job_2", step_key="other"))

    assert (line["job_id"], line["step_key"]) == ("job_2", "other")


def test_line_within_an_attempt_but_outside_of_steps_says_which():
    job = SimpleNamespace(job_id="job_1", kind="report", attempt=3, tenant=None)
    token = enter_attempt(SimpleNamespace(job=job))
    try:
        line = as_json(record())
    finally:
        token.var.reset(token)

    assert (line["job_id"], line["kind"], line["attempt"]) == ("job_1", "report", 3)
    assert "tenant" not in line
    assert "step_key" not in line


def test_bound_fields_are_on_every_line_of_the_block():
    with bound_fields(request_id="req_1"):
        inside = as_json(record())
        said = as_json(record(request_id="req_2"))

    assert (inside["request_id"], said["request_id"]) == ("req_1", "req_2")
    assert "request_id" not in as_json(record())


def test_line_within_a_span_names_its_trace():
    with recording() as spans:
        from holdfast.telemetry.traces import start_span, under

        span = start_span("work")
        assert span is not None
        with under(span):
            line = as_json(record())

    assert {str(line["trace_id"])} == spans.trace_ids()
    assert line["span_id"] == spans.id_of("work")


def test_lines_of_structlog_itself_are_written_the_same_way():
    """An application may log with structlog through the same handler."""
    made = record({"event": "ready", "slots": 3})
    vars(made).update(_logger=logging.getLogger("shop"), _name="info")

    line = as_json(made)

    assert (line["event"], line["slots"], line["level"]) == ("ready", 3, "info")
    assert structlog.contextvars.get_contextvars() == {}


async def test_job_code_logs_under_its_job_and_step(tmp_path, caplog):
    """With plain `logging`, from the job function, from a step and from a step's thread."""
    ours = logging.getLogger("shop")

    async def sell(job: JobContext) -> None:
        ours.warning("in the job")
        await job.step("price", price)
        await job.step("ship", ship)

    async def price() -> None:
        ours.warning("in a step")

    def ship() -> None:
        ours.warning("in a thread")

    written: list[dict[str, object]] = []

    class Kept(logging.Handler):
        def emit(self, made: logging.LogRecord) -> None:
            written.append(as_json(made))

    handler = Kept()
    ours.addHandler(handler)
    try:
        async with Harness(tmp_path) as harness:
            harness.job("sell", sell)
            await harness.start_worker()
            job_id = await harness.submit("sell", tenant="acme")
            await harness.end_of(job_id)
            await eventually(lambda: len(written) == 3)
    finally:
        ours.removeHandler(handler)

    assert {(line["job_id"], line["kind"], line["tenant"], line["attempt"]) for line in written} == {
        (job_id, "sell", "acme", 1)
    }
    assert [line.get("step_key") for line in written] == [None, "price", "ship"]
    assert as_json(record()) == {
        "level": "warning",
        "logger": "holdfast.engine",
        "event": "lease lost",
    }
