import json
import logging
import sys

import pytest

from holdfast.telemetry import JSONFormatter, TextFormatter, configure_logging, log_fields


def record(message="lease lost", *, error=False, **fields):
    made = logging.LogRecord("holdfast.engine", logging.WARNING, "f.py", 1, message, (), None)
    if error:
        try:
            raise ValueError("x")
        except ValueError:
            made.exc_info = sys.exc_info()
    vars(made).update(fields)
    return made


@pytest.fixture
def holdfast_logger():
    logger = logging.getLogger("holdfast")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield logger
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def test_fields_are_what_the_caller_passed():
    assert log_fields(record(job_id="job_x", epoch=2)) == {"job_id": "job_x", "epoch": 2}


def test_json_line_holds_event_and_fields():
    line = json.loads(JSONFormatter().format(record(job_id="job_x", where=object)))

    assert line.pop("at")
    assert line == {
        "level": "warning",
        "logger": "holdfast.engine",
        "event": "lease lost",
        "job_id": "job_x",
        "where": "<class 'object'>",
    }


def test_json_line_holds_the_exception():
    assert "ValueError: x" in json.loads(JSONFormatter().format(record(error=True)))["exception"]


def test_text_line_is_for_people():
    assert (
        TextFormatter().format(record(job_id="job_x", epoch=2))
        == "warning: lease lost job_id=job_x epoch=2"
    )
    assert TextFormatter().format(record()) == "warning: lease lost"
    assert TextFormatter().format(record(error=True)).endswith("ValueError: x")


@pytest.mark.parametrize(("style", "formatter"), [("json", JSONFormatter), ("text", TextFormatter)])
def test_logs_go_to_stderr_once_however_often_configured(holdfast_logger, style, formatter):
    configure_logging("info", style)
    configure_logging("info", style)

    (handler,) = holdfast_logger.handlers
    assert isinstance(handler.formatter, formatter)
    assert (holdfast_logger.level, holdfast_logger.propagate) == (logging.INFO, False)
