"""Worker processes with a supervisor: what ends is started again, as a container platform does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COMMAND = ("-c", "from holdfast.cli import main; main()", "worker")
_REST_SECONDS = 0.5
"""Before a worker is started in the place of one that has ended."""
_POLL_SECONDS = 0.05
_END_SECONDS = 60.0


@dataclass(slots=True, kw_only=True)
class Life:
    """One process in a worker's place; times are `time.monotonic`."""

    place: int
    number: int
    log: Path
    began: float
    pid: int = 0
    ended: float | None = None
    status: int | None = None
    """Exit status; negative for the signal that ended it."""
    forced: bool = False
    """Whether it had to be killed in the end, because it did not leave."""
    told: list[tuple[str, float]] = field(default_factory=list)
    """Signals that it was sent, with their times."""

    @property
    def name(self) -> str:
        """Of this process, in findings."""
        return f"worker {self.place}.{self.number}"

    @property
    def leaving(self) -> bool:
        """Whether it was told to."""
        return any(name == signal.SIGTERM.name for name, _ in self.told)

    def lines(self) -> Iterator[dict[str, object]]:
        """Yield what it has logged; a line that is not JSON comes as an event."""
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                told = json.loads(line)
            except ValueError:
                told = line
            yield told if isinstance(told, dict) else {"event": str(told), "level": "unknown"}

    def worker_ids(self) -> list[str]:
        """Return the ids it had: another one each time it had been taken for dead."""
        return [str(line["worker_id"]) for line in self.lines() if line["event"] == "worker started"]


class Fleet:
    """Keeps so many workers running until `leave`."""

    def __init__(
        self, folder: Path, workers: int, environment: Mapping[str, str], *, concurrency: int
    ) -> None:
        """Describe a fleet.

        Args:
            folder: Its processes' working directory; a log for each life lies there.
            workers: How many.
            environment: Of all of them.
            concurrency: Jobs at once in each.
        """
        self.folder = folder
        self.lives: list[Life] = []
        self._environment = dict(environment)
        self._concurrency = concurrency
        self._present: list[Life | None] = [None] * workers
        self._places: list[asyncio.Task[None]] = []
        self._leaving = False
        self._particular: list[dict[str, str]] = [{} for _ in range(workers)]

    def give(self, place: int, **environment: str) -> None:
        """Have the workers of one place see these variables, too."""
        self._particular[place].update(environment)

    def start(self) -> None:
        """Start all workers and their supervisor."""
        self._places = [
            asyncio.create_task(self._supervise(place)) for place in range(len(self._present))
        ]

    def at(self, place: int) -> Life | None:
        """Return the process that is there now, if there is one."""
        return self._present[place]

    def tell(self, life: Life, number: signal.Signals) -> None:
        """Send a signal."""
        life.told.append((number.name, time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.kill(life.pid, number)

    async def leave(self) -> None:
        """Have all workers leave in order, one that does not by force, and return when they have."""
        self._leaving = True
        for life in self._present:
            # A second SIGTERM would mean: at once.
            if life is not None and not life.leaving:
                self.tell(life, signal.SIGTERM)
        _, late = await asyncio.wait(self._places, timeout=_END_SECONDS)
        if late:
            for life in self._present:
                if life is not None:
                    life.forced = True
            self.kill()
            await asyncio.wait(late)
        for task in self._places:
            task.result()

    def kill(self) -> None:
        """Kill all workers at once, and start no more."""
        self._leaving = True
        for life in self._present:
            if life is not None:
                self.tell(life, signal.SIGKILL)

    async def end(self) -> None:
        """Kill all workers, also one that is just being started, and return when they are gone."""
        while pending := [task for task in self._places if not task.done()]:
            self.kill()
            await asyncio.wait(pending, timeout=_REST_SECONDS)

    async def _supervise(self, place: int) -> None:
        number = 0
        while not self._leaving:
            number += 1
            life = Life(
                place=place,
                number=number,
                log=self.folder / f"worker-{place}.{number}.log",
                began=time.monotonic(),
            )
            self.lives.append(life)
            await self._live(life)
            await asyncio.sleep(0 if self._leaving else _REST_SECONDS)

    async def _live(self, life: Life) -> None:
        with life.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *_COMMAND, "--concurrency", str(self._concurrency)),
                cwd=self.folder,
                env={**self._environment, **self._particular[life.place]},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        life.pid = process.pid
        self._present[life.place] = life
        try:
            life.status = await process.wait()
        finally:
            life.ended = time.monotonic()
            self._present[life.place] = None


def processes_in(folder: Path) -> list[int]:
    """Return the processes that work in a folder, or below it; none where there is no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.append(int(entry.name))
    return sorted(found)


async def processes_left(folder: Path, *, seconds: float) -> list[int]:
    """Return those that are still there after a while."""
    left = processes_in(folder)
    for _ in range(round(seconds / _POLL_SECONDS)):
        if not left:
            break
        await asyncio.sleep(_POLL_SECONDS)
        left = processes_in(folder)
    return left
