"""Isolated functions run in this process, once for each question, and are replayed with their files.

Hundreds of lives ask for the same chart and the same pages; a child process for each would take an
hour. The functions are the real ones, and so are the bytes they leave behind.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast import codec
from holdfast.engine.functions import decode_arguments


class Replay:
    """Stands for `run_isolated`, with what each call has returned and written to a folder."""

    def __init__(self, folder: Path) -> None:
        """Watch `folder`, which all lives share and each finds empty at first."""
        self.runs = 0
        """Calls that were not replayed."""
        self._folder = folder
        self._known: dict[tuple[str, bytes], tuple[bytes, dict[Path, bytes]]] = {}

    async def __call__(
        self, function: Callable[..., Any], arguments: bytes, *, limits: object, step_key: str
    ) -> bytes:
        # The real one takes a while, too: the moments in between are moments to die at.
        await asyncio.sleep(0)
        key = (f"{function.__module__}:{function.__qualname__}", arguments)
        if key not in self._known:
            self.runs += 1
            self._known[key] = await asyncio.to_thread(self._run, function, arguments)
        text, files = self._known[key]
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return text

    def _run(self, function: Callable[..., Any], arguments: bytes) -> tuple[bytes, dict[Path, bytes]]:
        before = self._files()
        args, kwargs = decode_arguments(function, arguments, what=function.__qualname__)
        value = function(*args, **kwargs)
        text, _ = codec.encode_value(value, codec.return_type(function), what=function.__qualname__)
        after = self._files()
        return text, {
            path: content
            for path, content in after.items()
            if before.get(path) != content and self._is_of(path, arguments)
        }

    def _is_of(self, path: Path, arguments: bytes) -> bool:
        """Whether a file lies in the work folder that the call names: others work at the same time."""
        return path.relative_to(self._folder).parts[0].encode() in arguments

    def _files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self._folder.rglob("*") if path.is_file()}
