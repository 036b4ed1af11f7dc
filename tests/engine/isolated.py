"""Importable functions for isolated steps."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pydantic

from holdfast.errors import FatalError, InvalidInputError, RetryLaterError


class Sheet(pydantic.BaseModel):
    title: str
    pages: int


def add(first: int, second: int = 0) -> int:
    return first + second


def enlarge(sheet: Sheet, *, by: int) -> Sheet:
    return Sheet(title=sheet.title, pages=sheet.pages + by)


def own_pid() -> int:
    return os.getpid()


def prints_a_lot() -> str:
    for _ in range(1000):
        sys.stdout.write("+noise on stdout\n" * 20)
    sys.stdout.flush()
    os.write(1, b"raw noise\n")
    return "quiet"


def hoards() -> int:
    return len(bytearray(3 * 1024**3))


def hangs(marker: str) -> None:
    """Write its pid and that of a process it started, then never return."""
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    part = Path(marker + ".part")
    part.write_text(f"{os.getpid()} {grandchild.pid}")
    part.rename(marker)
    signal.pause()


def raises_fatal() -> None:
    raise FatalError("cannot be helped")


def raises_value_error() -> None:
    raise ValueError("bad page")


def raises_transient() -> None:
    raise ConnectionResetError("gone")


def raises_later() -> None:
    raise RetryLaterError("busy", retry_after=timedelta(seconds=7))


def raises_input_error() -> None:
    raise InvalidInputError("not this")


def exits() -> None:
    sys.stderr.write("last words\n")
    sys.exit(3)


def dies() -> None:
    os.kill(os.getpid(), 9)


def vanishes() -> None:
    os._exit(0)


def huge() -> str:
    return "x" * 5000


def not_json():
    return object()


async def coroutine() -> None:
    pass
