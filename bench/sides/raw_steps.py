"""The physical limit: stdlib sqlite3, one writer thread, group commit, nothing else.

One INSERT of 2 KB per step into a rowid table with UNIQUE (job, key); every step awaits the
commit of its row. A job of the one-step workload also is a row that is accepted before its step
and finished after it, each awaited: the least that a durable job is.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from bench.sides.program import main, run_async, value_of

_STEPS = """
CREATE TABLE steps (id INTEGER PRIMARY KEY, job INTEGER, key TEXT, value TEXT, UNIQUE (job, key))
"""
_INSERT = "INSERT INTO steps (job, key, value) VALUES (?, ?, ?)"
_ACCEPT = "INSERT INTO jobs (id, status) VALUES (?, 'queued')"
_FINISH = "UPDATE jobs SET status = 'completed' WHERE id = ?"

Entry = tuple[str, tuple[Any, ...], "asyncio.Future[None]"]


class Writer:
    """Commits together whatever has been asked for since the last commit."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(path,))
        self._thread.start()

    def write(self, statement: str, values: tuple[Any, ...]) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((statement, values, future))
        return future

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _work(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("page_size = 8192", "journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT)")
        connection.execute(_STEPS)
        while (first := self._queue.get()) is not None:
            batch = [first]
            while not self._queue.empty():
                entry = self._queue.get()
                if entry is None:
                    self._queue.put(None)
                    break
                batch.append(entry)
            connection.execute("BEGIN IMMEDIATE")
            for statement, values, _ in batch:
                connection.execute(statement, values)
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_resolve, batch)
        connection.close()


def _resolve(batch: list[Entry]) -> None:
    for _, _, future in batch:
        future.set_result(None)


async def _chain(writer: Writer, job: int, steps: int, *, accepted: bool) -> None:
    if accepted:
        await writer.write(_ACCEPT, (job,))
    for number in range(steps):
        await writer.write(_INSERT, (job, f"step/{number}", value_of(number)))
    if accepted:
        await writer.write(_FINISH, (job,))


async def throughput(folder: str, jobs: int, steps: int) -> dict[str, float]:
    writer = Writer(Path(folder) / "raw.db")
    await _chain(writer, 0, 5, accepted=True)
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(
        *(_chain(writer, job, steps, accepted=steps == 1) for job in range(1, jobs + 1))
    )
    seconds = time.perf_counter() - began
    used = time.process_time() - cpu
    writer.close()
    return {"per_second": jobs * steps / seconds, "seconds": seconds, "cpu_seconds": used}


def measure(*, folder: str, **sizes: int) -> Any:
    return run_async(throughput(folder, **sizes))


if __name__ == "__main__":
    main(measure)
