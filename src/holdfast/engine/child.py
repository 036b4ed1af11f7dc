"""The child process of an isolated step: `python -m holdfast.engine.child`.

Reads two lines (request, arguments) from stdin, writes `+` and the result's JSON or `-` and the
error's JSON to stdout. Ends when the parent does: its stdin closes.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import sys
import threading
import traceback
from datetime import timedelta
from typing import Any

from holdfast import codec
from holdfast.engine.functions import decode_arguments, find_function
from holdfast.errors import StepUsageError
from holdfast.model import RetryPolicy
from holdfast.retry import is_transient

_ERROR_CHARACTERS = 4_000


def main() -> None:
    """Run the requested function under its limits."""
    replies = _take_stdout()
    request = codec.from_json(sys.stdin.buffer.readline())
    arguments = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if request["memory_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_AS, (request["memory_bytes"], request["memory_bytes"]))
    try:
        reply = b"+" + _call(request, arguments)
    except Exception as error:  # noqa: BLE001 - told to the parent, whatever it is
        reply = b"-" + _told(error)
    with os.fdopen(replies, "wb") as pipe:
        pipe.write(reply)


def _take_stdout() -> int:
    """Keep stdout for the reply; what the function prints goes to stderr."""
    replies = os.dup(1)
    os.dup2(2, 1)
    return replies


def _end_with_parent() -> None:
    # The parent never writes a third line: reading returns only when it is gone.
    # Not through `sys.stdin`, whose lock the interpreter wants when it shuts down.
    os.read(0, 1)
    os._exit(70)


def _call(request: dict[str, Any], arguments: bytes) -> bytes:
    sys.path[:] = request["path"]
    if request["main"] is not None:
        _load_script(*request["main"])
    function = find_function(request["function"])
    what = f"isolated function {request['function']!r}"
    args, kwargs = decode_arguments(function, arguments, what=what)
    text, _ = codec.encode_value(
        function(*args, **kwargs), codec.return_type(function), what=f"result of {what}"
    )
    return text


def _load_script(name: str, path: str) -> None:
    """Import the parent's script under its file's name; its main part is behind its guard."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise StepUsageError(f"script {path!r} cannot be imported", hint="give it a name ending in .py")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _told(error: Exception) -> bytes:
    retry_after = getattr(error, "retry_after", None)
    return codec.to_json(
        {
            "type": type(error).__name__,
            "message": str(error)[:_ERROR_CHARACTERS],
            "transient": is_transient(error, RetryPolicy()),
            "retry_after_seconds": retry_after.total_seconds()
            if isinstance(retry_after, timedelta)
            else None,
            "traceback": "".join(traceback.format_exception(error))[-_ERROR_CHARACTERS:],
        }
    )


if __name__ == "__main__":
    main()
