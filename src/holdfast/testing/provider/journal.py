"""The simulator's account of every call: the auditor of crash tests."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True, kw_only=True)
class CallRecord:
    """One request as the provider saw it; seconds are since the server started."""

    number: int
    """From 1, in order of arrival."""
    body_hash: str
    """SHA-256 of the JSON body with sorted keys: equal for equal questions."""
    tag: str
    """`X-Holdfast-Tag`, else what a prompt names as `[tag:…]`."""
    client_request_id: str
    """`X-Client-Request-Id`."""
    streamed: bool
    started: float
    in_flight: int
    """Calls being answered when this one began, itself included."""
    ended: float | None = None
    status: int | None = None
    """HTTP status; None while in flight and when the connection was reset before one."""
    fault: str | None = None
    disconnected: bool = False
    """Whether the client closed the connection before the answer was out."""
    reset: bool = False
    """Whether the server itself reset the connection, by a fault."""
    answered: bool = False
    """Whether a whole completion went out: this call was paid."""
    charged_tokens: int = 0
    """Against the tokens per minute."""
    input_tokens: int = 0
    output_tokens: int = 0
    """Tokens written, also those of an answer that was cut off."""


class Journal:
    """Records of one server, in memory and as lines of JSON in a file."""

    def __init__(self, path: Path | None = None) -> None:
        """Start an empty journal.

        Args:
            path: Gets one line when a call starts and one when it ends, each flushed, so that it
                can be read while and after the server runs in another process.
        """
        self.records: list[CallRecord] = []
        self.in_flight = 0
        self._file: IO[str] | None = None if path is None else path.open("a", encoding="utf-8")

    def start(self, record: CallRecord) -> None:
        """Note that a call has arrived."""
        self.in_flight += 1
        record.in_flight = self.in_flight
        self.records.append(record)
        self._write("started", record)

    def end(self, record: CallRecord, at: float) -> None:
        """Note that a call is over."""
        self.in_flight -= 1
        record.ended = at
        self._write("ended", record)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def summary(self) -> dict[str, Any]:
        """Return the verdict in numbers."""
        answered = Counter(each.body_hash for each in self.records if each.answered)
        return {
            "calls": len(self.records),
            "answered": sum(answered.values()),
            "answered_more_than_once": {key: count for key, count in answered.items() if count > 1},
            "peak_concurrent": max((each.in_flight for each in self.records), default=0),
            "refused_429": sum(each.status == 429 for each in self.records),
            "disconnected": sum(each.disconnected for each in self.records),
            "input_tokens": sum(each.input_tokens for each in self.records if each.answered),
            "output_tokens": sum(each.output_tokens for each in self.records),
        }

    def as_json(self) -> dict[str, Any]:
        """Return summary and records as `GET /_control/log` shows them."""
        return {"summary": self.summary(), "calls": [asdict(each) for each in self.records]}

    def _write(self, event: str, record: CallRecord) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"event": event, **asdict(record)}) + "\n")
            self._file.flush()
