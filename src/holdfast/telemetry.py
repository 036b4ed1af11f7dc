"""Logs: lower-case verb phrases with their values as fields, for people or as JSON lines."""

from __future__ import annotations

import logging
import sys

import msgspec

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def log_fields(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields that the caller passed as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **log_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class TextFormatter(logging.Formatter):
    """A short line for people: level, event, fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in log_fields(record).items())
        line = f"{record.levelname.lower()}: {record.getMessage()}{' ' if fields else ''}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure_logging(level: str, style: str) -> None:
    """Send Holdfast's logs to stderr; called once by entry points, never by the library."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if style == "json" else TextFormatter())
    logger = logging.getLogger("holdfast")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    # It warns of every connection that is cut in the middle of something, as the store tells itself.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
