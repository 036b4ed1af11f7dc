"""The peer: a plain Celery application as its documentation has it, run by `celery worker -P prefork`.

It cannot lose a job for good: Redis logs every message, a message is acknowledged when its task has
ended (`acks_late`), and the task commits one row. What it lacks beside that: checkpoints, leases (a
message of a killed worker is delivered again after the visibility timeout, an hour by default), fences
(then two may run at once), state to ask for, cancel, retries that survive.
"""

import os
import time
from pathlib import Path

import psycopg
from celery import Celery, signals

from bench.diary import note
from bench.sides.program import value_of

WAIT_SECONDS = 3_600.0
TABLE = "CREATE TABLE done (number BIGINT PRIMARY KEY, value TEXT)"
_INSERT = "INSERT INTO done (number, value) VALUES (%s, %s)"

app = Celery("bench", broker=os.environ.get("BENCH_BROKER"))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    # Short tasks, so many are fetched ahead, as the documentation advises.
    worker_prefetch_multiplier=64,
    broker_connection_retry_on_startup=True,
)
if "BENCH_SDK" in os.environ:
    # What a job that calls a model has at least, loaded once and shared by all children.
    import openai

    client = openai.OpenAI(api_key="none")

_held: dict[str, psycopg.Connection] = {}


@signals.worker_process_init.connect
def _connect(**_: object) -> None:
    if url := os.environ.get("BENCH_STORE"):
        _held["store"] = psycopg.connect(url, autocommit=True)


@app.task(name="bench.row")
def row(number: int) -> None:
    """Commit one row of 2 KB."""
    _held["store"].execute(_INSERT, (number, value_of(number)))


@app.task(name="bench.wait")
def wait(diary: str) -> None:
    """Wait, as for a provider, having noted it."""
    note(Path(diary), 1)
    time.sleep(WAIT_SECONDS)
