"""What processes take of the machine's memory, as the kernel tells it."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from holdfast.testing.servers.keeper import descendants


def family(pid: int) -> list[int]:
    """Return a process and everything below it."""
    return [pid, *descendants(pid)]


def total_kib(pids: Iterable[int], field: str) -> int:
    """Sum up a field of `/proc/PID/smaps_rollup`.

    `Pss` counts a page that several processes share in equal parts, so that the sum is what they take
    together, and `Pss_Anon` only what no file holds; `Rss` counts a shared page for each of them.
    """
    found = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(field + ":"):
                    found += int(line.split()[1])
    return found
