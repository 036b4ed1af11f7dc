"""What processes take of the machine's memory, as the kernel tells it."""

import contextlib
import resource
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from holdfast.testing.servers.keeper import descendants

_LOOK_SECONDS = 0.1


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


class Peaks:
    """Watches the resident sets of some processes and of all below each of them."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = tuple(pids)
        self._own = dict.fromkeys(self._pids, 0)
        self._child = dict.fromkeys(self._pids, 0)
        self._family = dict.fromkeys(self._pids, 0)
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()

    def own_mb(self, pid: int) -> float:
        """Return the peak of the process itself."""
        return self._own[pid] / 1e6

    def child_mb(self, pid: int) -> float:
        """Return the peak of the largest below it; 0 if there was none."""
        return self._child[pid] / 1e6

    def family_mb(self, pid: int) -> float:
        """Return the largest sum of the process and all below it at one moment."""
        return self._family[pid] / 1e6

    def _watch(self) -> None:
        self._look()
        while not self._ended.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        for pid in self._pids:
            own, *below = map(_resident_bytes, family(pid))
            self._own[pid] = max(self._own[pid], own)
            self._child[pid] = max(self._child[pid], *below, 0)
            self._family[pid] = max(self._family[pid], own + sum(below))


def _resident_bytes(pid: int) -> int:
    """Return a process's resident set; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0
