"""Sends tasks to the plain Celery application, and waits for their rows."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from bench.sides.program import main

SENDERS = 8
_LOOK_SECONDS = 0.02
_SECONDS_MAX = 200.0


def throughput(store: str, jobs: int) -> dict[str, float]:
    """Time tasks from the first one sent to the last one's row."""
    from bench.sides.celery_app import row

    warm = 20
    with psycopg.connect(store, autocommit=True) as connection:
        for number in range(warm):
            row.delay(number)
        _rows(connection, warm)
        began = time.perf_counter()
        # From several threads, so that Redis writes its log for several messages at once.
        with ThreadPoolExecutor(SENDERS) as senders:
            list(senders.map(row.delay, range(warm, warm + jobs)))
        sent = time.perf_counter()
        _rows(connection, warm + jobs)
        seconds = time.perf_counter() - began
    return {"per_second": jobs / seconds, "submitted_per_second": jobs / (sent - began)}


def _rows(connection: psycopg.Connection, count: int) -> None:
    give_up = time.monotonic() + _SECONDS_MAX
    while True:
        found = connection.execute("SELECT count(*) FROM done").fetchone()
        if found is not None and found[0] >= count:
            return
        assert time.monotonic() < give_up, f"{found} of {count} rows"
        time.sleep(_LOOK_SECONDS)


def wait(diary: str, jobs: int) -> int:
    """Send tasks that wait."""
    from bench.sides.celery_app import wait as task

    for _ in range(jobs):
        task.delay(diary)
    return jobs


def measure(*, folder: str, role: str, broker: str, **asked: Any) -> Any:
    del folder
    # The application reads it when it is imported, as its workers do.
    os.environ["BENCH_BROKER"] = broker
    found: Any = throughput(**asked) if role == "throughput" else wait(**asked)
    return found


if __name__ == "__main__":
    main(measure)
