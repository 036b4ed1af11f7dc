"""The peer: DBOS with its SQLite system database as documented, or PostgreSQL; async workflows.

DBOS sets no journal mode and no synchronous level, so SQLite's defaults hold: a rollback journal
and FULL. With `wal`, the file is put into WAL mode before DBOS first opens it, which DBOS keeps;
it is as durable and faster, and closer to what our side does.
"""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig

from bench.sides.program import main, run_async, value_of

_marks: dict[str, float] = {}


@DBOS.step()
async def work(number: int) -> str:
    return value_of(number)


@DBOS.workflow()
async def chain(steps: int) -> int:
    """Run steps one after another, and note when the body began and ended."""
    _marks["began"] = time.perf_counter()
    for number in range(steps):
        await work(number)
    _marks["ended"] = time.perf_counter()
    return steps


async def throughput(jobs: int, steps: int) -> dict[str, float]:
    began, cpu = time.perf_counter(), time.process_time()
    handles = await asyncio.gather(*(DBOS.start_workflow_async(chain, steps) for _ in range(jobs)))
    await asyncio.gather(*(handle.get_result() for handle in handles))
    seconds = time.perf_counter() - began
    return {
        "per_second": jobs * steps / seconds,
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
    }


async def replay(steps: int) -> dict[str, float]:
    """Fork a finished workflow behind its last step; only the body is timed, not the queue before it."""
    handle = await DBOS.start_workflow_async(chain, steps)
    await handle.get_result()
    forked = await DBOS.fork_workflow_async(handle.get_workflow_id(), steps + 1)
    await forked.get_result()
    seconds = _marks["ended"] - _marks["began"]
    return {"per_second": steps / seconds, "seconds": seconds}


def measure(*, folder: str, work: str, url: str = "", wal: bool = False, **sizes: int) -> Any:
    path = Path(folder) / "dbos.sqlite"
    if wal:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": url or f"sqlite:///{path}",
        "log_level": "ERROR",
        "enable_otlp": False,
    }
    DBOS(config=config)
    DBOS.launch()
    asked = {"throughput": throughput, "replay": replay}[work]

    async def warm_and_measure() -> Any:
        await (await DBOS.start_workflow_async(chain, 5)).get_result()
        return await asked(**sizes)  # type: ignore[operator]

    try:
        return run_async(warm_and_measure())
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main(measure)
