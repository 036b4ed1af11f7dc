"""The physical limit on PostgreSQL: asyncpg, one connection, group commit, nothing else.

One row of 2 KB per step into a table with UNIQUE (job, key), all that wait in one INSERT over
`unnest`; every step awaits the commit of its row.
"""

import asyncio
import time
from typing import Any

import asyncpg

from bench.sides.program import main, run_async, value_of

_STEPS = """
CREATE TABLE steps (id BIGSERIAL PRIMARY KEY, job BIGINT, key TEXT, value TEXT, UNIQUE (job, key))
"""
_INSERT = """
INSERT INTO steps (job, key, value) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])
"""

Entry = tuple[int, str, str, "asyncio.Future[None]"]


class Writer:
    """Commits together whatever has been asked for since the last commit."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._waiting: list[Entry] = []
        self._task: asyncio.Task[None] | None = None

    def write(self, job: int, key: str, value: str) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, key, value, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return future

    async def _work(self) -> None:
        insert = await self._connection.prepare(_INSERT)
        while self._waiting:
            batch, self._waiting = self._waiting, []
            jobs, keys, values, futures = zip(*batch, strict=True)
            await insert.fetch(jobs, keys, values)
            for future in futures:
                future.set_result(None)
        self._task = None


async def _chain(writer: Writer, job: int, steps: int) -> None:
    for number in range(steps):
        await writer.write(job, f"step/{number}", value_of(number))


async def throughput(url: str, jobs: int, steps: int) -> dict[str, float]:
    connection = await asyncpg.connect(url)
    await connection.execute(_STEPS)
    writer = Writer(connection)
    await _chain(writer, 0, 5)
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_chain(writer, job, steps) for job in range(1, jobs + 1)))
    seconds = time.perf_counter() - began
    used = time.process_time() - cpu
    await connection.close()
    return {"per_second": jobs * steps / seconds, "seconds": seconds, "cpu_seconds": used}


def measure(*, folder: str, url: str, **sizes: int) -> Any:
    del folder
    return run_async(throughput(url, **sizes))


if __name__ == "__main__":
    main(measure)
