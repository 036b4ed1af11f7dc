"""What every measured program starts and ends with."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

VALUE_BYTES = 2_000


def value_of(seed: int) -> str:
    """Return a result of 2 KB that differs from its neighbours."""
    return f"{seed:08d}".ljust(VALUE_BYTES, "x")


def main(measure: Callable[..., Any]) -> None:
    """Run `measure` with the keyword arguments of the command line and print what it returns."""
    found = measure(**json.loads(sys.argv[1]))
    sys.stdout.write("\n" + json.dumps(found) + "\n")
    sys.stdout.flush()


def run_async(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on uvloop, which all sides use."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def memory_kib(field: str = "VmRSS") -> int:
    """Return a figure of this process in KiB, as the kernel tells it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise LookupError(field)
