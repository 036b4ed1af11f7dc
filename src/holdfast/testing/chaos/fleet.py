"""Processes with a supervisor: what ends is started again, as a container platform does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PROGRAM = ("-c", "from holdfast.cli import main; main()")
_REST_SECONDS = 0.5
"""Before a process is started in the place of one that has ended."""
_AT_WORK = frozenset({"worker started", "serving"})
"""What processes log once they have started up."""
_POLL_SECONDS = 0.05
_END_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A place in a fleet that always one process holds."""

    name: str
    """In findings and log files, such as `worker 0`."""
    command: tuple[str, ...]
    """What `holdfast` is told to do."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of the whole fleet."""


@dataclass(slots=True, kw_only=True)
class Life:
    """One process at a post; times are `time.monotonic`."""

    post: Post
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
        return f"{self.post.name}.{self.number}"

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

    def times(self) -> tuple[float, float] | None:
        """Return how many seconds it took to start up, and how many it has been at work since.

        None before, and if it never will be.
        """
        for line in self.lines():
            if line["event"] in _AT_WORK:
                since = datetime.fromisoformat(str(line["at"]))
                at_work = (datetime.now(UTC) - since).total_seconds()
                return time.monotonic() - self.began - at_work, at_work
        return None

    def worker_ids(self) -> list[str]:
        """Return the ids it had as a worker: another one each time it had been taken for dead."""
        return [str(line["worker_id"]) for line in self.lines() if line["event"] == "worker started"]


class Fleet:
    """Keeps a process at each post until `leave`."""

    def __init__(self, folder: Path, posts: Sequence[Post], environment: Mapping[str, str]) -> None:
        """Describe a fleet.

        Args:
            folder: Its processes' working directory; a log for each life lies there.
            posts: What each process does.
            environment: Of all of them.
        """
        self.folder = folder
        self.posts = tuple(posts)
        self.lives: list[Life] = []
        self._environment = dict(environment)
        self._present: list[Life | None] = [None] * len(self.posts)
        self._places: list[asyncio.Task[None]] = []
        self._leaving = False

    def start(self) -> None:
        """Start all processes and their supervisor."""
        self._places = [asyncio.create_task(self._supervise(place)) for place in range(len(self.posts))]

    def at(self, place: int) -> Life | None:
        """Return the process that is there now, if there is one."""
        return self._present[place]

    def tell(self, life: Life, number: signal.Signals) -> None:
        """Send a signal."""
        life.told.append((number.name, time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.kill(life.pid, number)

    async def leave(self) -> None:
        """Have all processes leave in order, one that does not by force, and return when they have."""
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
        """Kill all processes at once, and start no more."""
        self._leaving = True
        for life in self._present:
            if life is not None:
                self.tell(life, signal.SIGKILL)

    async def end(self) -> None:
        """Kill all processes, also one that is just being started, and return when they are gone."""
        while pending := [task for task in self._places if not task.done()]:
            self.kill()
            await asyncio.wait(pending, timeout=_REST_SECONDS)

    async def _supervise(self, place: int) -> None:
        post, number = self.posts[place], 0
        while not self._leaving:
            number += 1
            log = self.folder / f"{post.name.replace(' ', '-')}.{number}.log"
            life = Life(post=post, number=number, log=log, began=time.monotonic())
            self.lives.append(life)
            await self._live(place, life)
            await asyncio.sleep(0 if self._leaving else _REST_SECONDS)

    async def _live(self, place: int, life: Life) -> None:
        with life.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *_PROGRAM, *life.post.command),
                cwd=self.folder,
                env={**self._environment, **life.post.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        life.pid = process.pid
        self._present[place] = life
        try:
            life.status = await process.wait()
        finally:
            life.ended = time.monotonic()
            self._present[place] = None


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
