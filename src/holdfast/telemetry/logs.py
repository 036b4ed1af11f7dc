"""Logs: lower-case verb phrases with their values as fields, for people or as JSON lines.

Call sites use `logging` alone. What a line belongs to (job, step, request, trace) is known from
where the code runs and is added here.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter, plain_traceback
from structlog.stdlib import ExtraAdder, ProcessorFormatter

from holdfast.scope import current_attempt, current_step

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

bound_fields = structlog.contextvars.bound_contextvars
"""Add fields to every line that is logged within the block, in this task and those it starts."""

_FIRST = ("at", "level", "logger", "event")
"""How a JSON line begins."""

_LIBRARIES = ("opentelemetry", "uvicorn")
"""Whose warnings go where ours go; Celery's see `holdfast.worker`."""

_RESET, _BRIGHT, _CYAN, _MAGENTA = "\x1b[0m", "\x1b[1m", "\x1b[36m", "\x1b[35m"
_LEVEL_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m"}
_SEVERE = "\x1b[1;31m"


def configure_logging(level: str, style: str) -> None:
    """Send Holdfast's logs to stderr; called once by entry points, never by the library.

    Args:
        level: The least severe lines to write.
        style: `json` for one object a line, or `text` for people, in colours on a terminal.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(json_formatter() if style == "json" else text_formatter(sys.stderr.isatty()))
    logger = logging.getLogger("holdfast")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    for name in _LIBRARIES:
        theirs = logging.getLogger(name)
        theirs.handlers = [handler]
        theirs.setLevel(logging.WARNING)
        theirs.propagate = False
    # It warns of every connection that is cut in the middle of something, as the store tells itself.
    logging.getLogger("psycopg").setLevel(logging.ERROR)


def json_formatter() -> logging.Formatter:
    """Return what writes one JSON object a line: time, level, logger, event, then the fields."""
    return _formatter(
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        _render_json,
    )


def text_formatter(colours: bool) -> logging.Formatter:  # noqa: FBT001 - the only thing there is to say
    """Return what writes a short line for people: level, event, fields as name=value."""
    reset, bright, cyan, magenta = (_RESET, _BRIGHT, _CYAN, _MAGENTA) if colours else ("",) * 4

    def level(key: str, value: object) -> str:  # noqa: ARG001 - structlog passes it by name
        return f"{_LEVEL_COLOURS.get(str(value), _SEVERE)}{value}{reset}:" if colours else f"{value}:"

    def nothing(key: str, value: object) -> str:  # noqa: ARG001 - as above
        return ""

    columns = [
        Column("level", level),
        Column("logger", nothing),
        Column(
            "event",
            KeyValueColumnFormatter(
                key_style=None, value_style=bright, reset_style=reset, value_repr=_shown
            ),
        ),
        Column(
            "",
            KeyValueColumnFormatter(
                key_style=cyan, value_style=magenta, reset_style=reset, value_repr=_shown
            ),
        ),
    ]
    # Not the formatter that it takes by default: that shows local variables, and what they hold.
    return _formatter(
        ConsoleRenderer(columns=columns, sort_keys=False, exception_formatter=plain_traceback)
    )


def _formatter(*last: Processor) -> logging.Formatter:
    return ProcessorFormatter(
        foreign_pre_chain=[ExtraAdder()],
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            add_scope,
            ProcessorFormatter.remove_processors_meta,
            *last,
        ],
    )


def add_scope(_: Any, __: str, fields: EventDict) -> EventDict:
    """Say on whose behalf the line was logged; what the call itself says wins."""
    attempt = current_attempt()
    if attempt is not None:
        job = attempt.job
        fields.setdefault("job_id", job.job_id)
        fields.setdefault("kind", job.kind)
        fields.setdefault("attempt", job.attempt)
        if job.tenant is not None:
            fields.setdefault("tenant", job.tenant)
    step = current_step()
    if step is not None:
        fields.setdefault("job_id", step.lease.job_id)
        fields.setdefault("kind", step.kind)
        fields.setdefault("step_key", step.step_key)
        fields.setdefault("step_attempt", step.step_attempt)
        if step.tenant is not None:
            fields.setdefault("tenant", step.tenant)
    span = get_current_span().get_span_context()
    if span.is_valid:
        fields.setdefault("trace_id", format_trace_id(span.trace_id))
        fields.setdefault("span_id", format_span_id(span.span_id))
    return fields


def _render_json(_: Any, __: str, fields: EventDict) -> str:
    line = {name: fields.pop(name) for name in _FIRST if name in fields}
    return msgspec.json.encode({**line, **fields}, enc_hook=str).decode()


def _shown(value: object) -> str:
    """Return a value on one line; what came in from outside may try to write lines of its own."""
    text = str(value)
    return text if text.isprintable() else repr(text)
