"""Steps in child processes of their own: killable, with limits on memory and time.

The parent and the child speak JSON over pipes: an importable function and its arguments go in,
a result or an error comes out. Nothing is pickled, nothing is inherited.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import sys
import tempfile
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast import codec
from holdfast.engine.functions import reference_to
from holdfast.errors import FatalError, IsolationError, JobError, StepTimeoutError, StepUsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.model import Isolation

RESULT_BYTES_MAX = codec.VALUE_BYTES_MAX + 1024
_STDERR_BYTES_KEPT = 4_000


class ChildTroubleError(JobError):
    """What the function raised in its child process may pass; `retry_after` if it said so."""

    code = "isolation"
    transient = True

    def __init__(self, message: str, *, retry_after: timedelta | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


async def run_isolated(
    function: Callable[..., Any], arguments: bytes, *, limits: Isolation, step_key: str
) -> bytes:
    """Run an importable function in a child process and return its result as JSON text.

    Args:
        function: A module-level function; the child imports it anew.
        arguments: JSON text `[[positional…], {keyword…}]`, decoded there by the annotations.
        limits: Memory and time; the child is killed when it exceeds them.
        step_key: For messages.

    Raises:
        StepTimeoutError: The time limit was reached; the child was killed.
        IsolationError: The child ended without a result, such as out of memory.
        FatalError, ChildTroubleError: What the function raised, by its class's word on retrying.
        asyncio.CancelledError: The step was cancelled; the child was killed.
    """
    request = codec.to_json(
        {
            "function": reference_to(function, what=f"isolated function of step {step_key!r}"),
            "main": _script_of(function),
            "memory_bytes": limits.memory_bytes,
            "path": sys.path,
        }
    )
    with tempfile.TemporaryFile() as errors:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "holdfast.engine.child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=2**20,
            start_new_session=True,
        )
        seconds = limits.timeout.total_seconds() if limits.timeout else None
        try:
            async with asyncio.timeout(seconds):
                reply = await _converse(child, request, arguments)
                await child.wait()
        except TimeoutError:
            raise StepTimeoutError(step_key=step_key, limit_seconds=seconds or 0.0) from None
        finally:
            await _kill(child)
        return _result(reply, child.returncode, errors, limits=limits, step_key=step_key)


async def _converse(child: asyncio.subprocess.Process, request: bytes, arguments: bytes) -> bytes:
    """Send request and arguments as two lines, then read to the end.

    The child's stdin stays open: its end tells the child that this process is gone.
    """
    if child.stdin is None or child.stdout is None:
        raise IsolationError("child process came without pipes; this is a defect of the platform")
    with contextlib.suppress(ConnectionError, RuntimeError):
        # A child that died at once is reported by its exit status; uvloop raises RuntimeError then.
        child.stdin.write(request + b"\n" + arguments + b"\n")
        await child.stdin.drain()
    chunks, size = [], 0
    while chunk := await child.stdout.read(2**20):
        size += len(chunk)
        if size > RESULT_BYTES_MAX:
            raise IsolationError(
                f"a child process sent more than {RESULT_BYTES_MAX} bytes",
                hint="write large results to a file and return its path",
            )
        chunks.append(chunk)
    return b"".join(chunks)


async def _kill(child: asyncio.subprocess.Process) -> None:
    """Kill the child and everything it started; returns when it is gone, cancelled or not."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.stdin is not None:
        child.stdin.close()
    if child.returncode is None:
        await asyncio.shield(child.wait())


def _result(
    reply: bytes, exit_status: int | None, errors: Any, *, limits: Isolation, step_key: str
) -> bytes:
    if exit_status == 0 and reply[:1] == b"+":
        return reply[1:]
    if reply[:1] == b"-":
        raise _raised(codec.from_json(reply[1:]), limits, step_key)
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - _STDERR_BYTES_KEPT))
    last_words = errors.read().decode(errors="replace").strip().splitlines()
    how = (
        f"was killed by signal {signal.Signals(-exit_status).name}"
        if exit_status is not None and exit_status < 0
        else f"exited with status {exit_status}"
    )
    said = f": {last_words[-1]}" if last_words else ""
    raise IsolationError(
        f"child process of step {step_key!r} {how} without a result{said}", hint=_memory_hint(limits)
    )


def _memory_hint(limits: Isolation) -> str:
    if limits.memory_bytes is None:
        return "the machine may have run out of memory"
    mebibytes = limits.memory_bytes // 1024**2
    return f"if it ran out of its {mebibytes} MiB, raise Isolation(memory_bytes=…)"


def _raised(told: dict[str, Any], limits: Isolation, step_key: str) -> Exception:
    text = f"{told['type']} in the child process of step {step_key!r}: {told['message']}"
    if told["type"] == "MemoryError":
        return IsolationError(text, hint=_memory_hint(limits))
    if told["transient"]:
        asked = told["retry_after_seconds"]
        return ChildTroubleError(text, retry_after=None if asked is None else timedelta(seconds=asked))
    error = FatalError(text)
    error.add_note(told["traceback"])
    return error


def _script_of(function: Callable[..., Any]) -> list[str] | None:
    """Name and path of the running script, if the function is defined in it."""
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    if function.__module__ != "__main__" or path is None or getattr(main, "__spec__", None) is not None:
        return None
    return [codec.public_module_name("__main__"), path]


def check_isolated(function: Callable[..., Any]) -> None:
    """Refuse what a child process cannot run.

    Raises:
        StepUsageError: The function is a coroutine function or cannot be imported by name.
    """
    if inspect.iscoroutinefunction(function):
        raise StepUsageError(
            f"step function {function.__qualname__!r} is 'async def' but isolated",
            hint="isolated steps are for CPU work: write a plain function",
        )
    reference_to(function, what="isolated function")
