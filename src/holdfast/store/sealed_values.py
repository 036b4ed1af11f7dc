"""Which fields of jobs, steps and events are sealed, and how each looks at rest.

A sealed JSON text is the JSON string `"$sealed:…"`, a sealed text is `$sealed:…` itself, a sealed
event's data is `{"sealed": "$sealed:…"}`: whatever is stored keeps its form, so that the store can
nest it, and clear values written before there was a key are told from sealed ones.

Writing seals each field as that of its job. Step results are sealed for their key alone, for a fork
copies them as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.model import Checkpoint, Event, StoredError, UndoCall
from holdfast.sealing import SEALED_PREFIX
from holdfast.store.base import NewEvent

if TYPE_CHECKING:
    from holdfast.model import Job, Progress
    from holdfast.sealing import Keyring

_QUOTED_PREFIX = b'"' + SEALED_PREFIX
_TEXT_PREFIX = SEALED_PREFIX.decode()
_OUTPUT_DELTA = "output.delta"
_ERROR_TYPES = ("attempt.failed", "job.failed")

_encode = msgspec.json.Encoder().encode


class _SealedEvent(msgspec.Struct, omit_defaults=True):
    """An event of job code at rest; the key is in the clear for the store to find streamed text by."""

    sealed: Any = None
    key: Any = None


class _Delta(msgspec.Struct):
    key: str


class _SignalData(msgspec.Struct):
    name: str
    payload: msgspec.Raw


class _ErrorData(msgspec.Struct):
    error: StoredError | None


class _ErrorContent(msgspec.Struct, array_like=True):
    message: str
    details: dict[str, Any]
    traceback: str


_decode_event = msgspec.json.Decoder(_SealedEvent).decode
_decode_delta = msgspec.json.Decoder(_Delta).decode
_decode_signal = msgspec.json.Decoder(_SignalData).decode
_decode_error_data = msgspec.json.Decoder(_ErrorData).decode
_decode_error_content = msgspec.json.Decoder(_ErrorContent).decode


class Sealer:
    """Seals and opens the values that pass through a store. With an empty keyring it only opens.

    Every method that opens raises `SealedValueError` for what cannot be opened.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Keyring) -> None:
        self._keys = keys

    # parts -----------------------------------------------------------------------------------

    def seal_json(self, text: bytes, field: str, *owner: str) -> bytes:
        """Seal a JSON text."""
        return b'"' + self._keys.seal(text, field, *owner) + b'"' if self._keys.seals else text

    def open_json(self, text: bytes, field: str, *owner: str) -> bytes:
        """Open a JSON text."""
        if not text.startswith(_QUOTED_PREFIX):
            return text
        return self._keys.open(text[1:-1], field, *owner)

    def seal_error(self, error: StoredError, job_id: str) -> StoredError:
        """Seal all but the error's type and code."""
        if not self._keys.seals:
            return error
        content = _encode(_ErrorContent(error.message, error.details, error.traceback))
        message = self._keys.seal(content, "error", job_id).decode()
        return replace(error, message=message, details={}, traceback="")

    def open_error(self, error: StoredError, job_id: str) -> StoredError:
        """Open an error."""
        if not error.message.startswith(_TEXT_PREFIX):
            return error
        content = _decode_error_content(self._keys.open(error.message.encode(), "error", job_id))
        return replace(
            error, message=content.message, details=content.details, traceback=content.traceback
        )

    def seal_progress(self, progress: Progress, job_id: str) -> Progress:
        """Seal the label."""
        if not progress.label or not self._keys.seals:
            return progress
        label = self._keys.seal(progress.label.encode(), "progress", job_id)
        return replace(progress, label=label.decode())

    # jobs and steps --------------------------------------------------------------------------

    def open_job(self, job: Job) -> Job:
        """Open input, output, error and the label of the progress."""
        changes: dict[str, Any] = {}
        if job.input.startswith(_QUOTED_PREFIX):
            changes["input"] = self.open_json(job.input, "input", job.job_id)
        if job.output is not None and job.output.startswith(_QUOTED_PREFIX):
            changes["output"] = self.open_json(job.output, "output", job.job_id)
        if job.error is not None and job.error.message.startswith(_TEXT_PREFIX):
            changes["error"] = self.open_error(job.error, job.job_id)
        if job.progress.label.startswith(_TEXT_PREFIX):
            label = self._keys.open(job.progress.label.encode(), "progress", job.job_id)
            changes["progress"] = replace(job.progress, label=label.decode())
        return replace(job, **changes) if changes else job

    def seal_undo(self, undo: UndoCall, job_id: str, key: str) -> UndoCall:
        """Seal the arguments."""
        return replace(undo, arguments=self.seal_json(undo.arguments, "undo", job_id, key))

    def seal_checkpoint(self, checkpoint: Checkpoint, job_id: str) -> Checkpoint:
        """Seal the value and the arguments of the undo."""
        if not self._keys.seals:
            return checkpoint
        key, value, undo = checkpoint.key, checkpoint.value, checkpoint.undo
        return replace(
            checkpoint,
            value=None if value is None else self.seal_json(value, "result", key),
            undo=None if undo is None else self.seal_undo(undo, job_id, key),
        )

    def open_checkpoint(self, checkpoint: Checkpoint, job_id: str) -> Checkpoint:
        """Open the value and the arguments of the undo."""
        key, value, undo = checkpoint.key, checkpoint.value, checkpoint.undo
        changes: dict[str, Any] = {}
        if value is not None and value.startswith(_QUOTED_PREFIX):
            changes["value"] = self.open_json(value, "result", key)
        if undo is not None and undo.arguments.startswith(_QUOTED_PREFIX):
            arguments = self.open_json(undo.arguments, "undo", job_id, key)
            changes["undo"] = replace(undo, arguments=arguments)
        return replace(checkpoint, **changes) if changes else checkpoint

    # events ----------------------------------------------------------------------------------

    def seal_event(self, event: NewEvent, job_id: str) -> NewEvent:
        """Seal the data of an event that job code or the engine appends."""
        if not self._keys.seals:
            return event
        sealed = self._keys.seal(event.data, "event", job_id, event.type).decode()
        key = _decode_delta(event.data).key if event.type == _OUTPUT_DELTA else None
        return NewEvent(type=event.type, data=_encode(_SealedEvent(sealed=sealed, key=key)))

    def open_event(self, event: Event) -> Event:
        """Open an event's data, or what the store has put into it."""
        if SEALED_PREFIX not in event.data:
            return event
        if event.type == "signal.received":
            signal = _decode_signal(event.data)
            payload = self.open_json(bytes(signal.payload), "signal", event.job_id, signal.name)
            return replace(event, data=_encode(_SignalData(signal.name, msgspec.Raw(payload))))
        if event.type in _ERROR_TYPES:
            error = _decode_error_data(event.data).error
            opened = None if error is None else self.open_error(error, event.job_id)
            return replace(event, data=_encode(_ErrorData(opened)))
        sealed = _decode_event(event.data).sealed
        if not isinstance(sealed, str) or not sealed.startswith(_TEXT_PREFIX):
            return event
        return replace(event, data=self._keys.open(sealed.encode(), "event", event.job_id, event.type))
