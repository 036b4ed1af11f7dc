"""Files in which processes note what they began, and when: a kill loses no line."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.harness import SideError

_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Line:
    """One step that began."""

    pid: int
    number: int
    at: float
    """By the clock that all processes of a machine share, `time.monotonic`."""


def note(path: Path, number: int) -> None:
    """Add a line about this process; several may write at once."""
    with path.open("ab", buffering=0) as file:
        file.write(f"{os.getpid()} {number} {time.monotonic()}\n".encode())


def lines(path: Path) -> list[Line]:
    """Read all whole lines."""
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [Line(int(pid), int(number), float(at)) for pid, number, at in map(str.split, whole)]


def wait_for(path: Path, pid: int, count: int, *, seconds_max: float) -> list[Line]:
    """Return the lines of a process once there are so many.

    Raises:
        SideError: There are too few after that time.
    """
    found: list[Line] = []

    def enough() -> bool:
        found[:] = [line for line in lines(path) if line.pid == pid]
        return len(found) >= count

    if not until(enough, seconds_max):
        raise SideError(f"process {pid} began {len(found)} of {count} steps in {seconds_max:g} s")
    return found


def until(true: Callable[[], bool], seconds_max: float) -> bool:
    """Look again and again until it is true; False if it is not after that time."""
    give_up = time.monotonic() + seconds_max
    while not true():
        if time.monotonic() > give_up:
            return False
        time.sleep(_LOOK_SECONDS)
    return True
