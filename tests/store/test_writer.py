"""Group commit: operations share a transaction and nothing else."""

import asyncio
import sqlite3
import threading
from typing import Any

import pytest

from holdfast.errors import InvalidInputError, LeaseLost, StoreError, StoreUnavailableError
from holdfast.store.base import JobQuery
from holdfast.testing.store_suite.support import job, submit


def insert(key: str):
    def operation(tx) -> str:
        tx.execute("INSERT INTO step_history VALUES ('k', ?, 1, 1)", (key,))
        return key

    return operation


def failing(error: BaseException, *, first: str | None = None):
    def operation(tx) -> None:
        if first is not None:
            insert(first)(tx)
        raise error

    return operation


async def keys(store) -> list[str]:
    def read(tx) -> list[str]:
        return [key for (key,) in tx.execute("SELECT step_group FROM step_history")]

    return sorted(await store._write(read))


@pytest.mark.parametrize("first", [None, "written"])
@pytest.mark.parametrize(
    "error", [InvalidInputError("no"), LeaseLost("no"), ValueError("no"), KeyboardInterrupt()]
)
async def test_failing_operation_is_undone_alone(lab, error, first):
    store = await lab.open()

    outcomes = await together(store, [insert("a"), failing(error, first=first), insert("b")])

    assert outcomes == ["a", error, "b"]
    assert await keys(store) == ["a", "b"]


async def together(store, operations) -> list[Any]:
    """Wait without raising: a task that raised KeyboardInterrupt would end the loop."""
    futures = [store._write(operation) for operation in operations]
    await asyncio.wait(futures)
    return [future.exception() or future.result() for future in futures]


async def test_failing_statement_is_undone_alone(lab):
    store = await lab.open()

    first, twice, third = await together(store, [insert("a"), insert("a"), insert("b")])

    assert (first, third, type(twice)) == ("a", "b", StoreError)
    assert isinstance(twice.__cause__, sqlite3.IntegrityError)
    assert await keys(store) == ["a", "b"]


async def test_operations_of_one_turn_share_a_transaction(lab, monkeypatch):
    store = await lab.open()
    begun = []
    runner = store._open_writer.runner
    begin = runner._begin

    def counted():
        begun.append(1)
        return begin()

    monkeypatch.setattr(runner, "_begin", counted)
    monkeypatch.setattr(store._open_writer, "_batch_max", 30)

    await together(store, [insert(str(number)) for number in range(100)])

    assert len(begun) == 4


async def test_commit_that_fails_is_tried_again_one_by_one(lab, monkeypatch):
    store = await lab.open()
    attempts = []

    def fails_in_company(tx) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise sqlite3.OperationalError("disk")

    outcomes = await together(store, [insert("a"), fails_in_company])

    assert outcomes == ["a", None]
    assert await keys(store) == ["a"]


async def test_lock_met_on_the_second_try_is_waited_for_once(lab):
    store = await lab.open()
    locked = sqlite3.OperationalError("locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
    errors = iter([ValueError("first"), locked])

    def fails_differently(tx) -> None:
        raise next(errors)

    outcomes = await together(store, [fails_differently, insert("b")])

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2
    assert await keys(store) == []


async def test_other_event_loops_can_write(lab):
    store = await lab.open()

    def elsewhere() -> str:
        return asyncio.run(submit(store))

    job_id = await asyncio.to_thread(elsewhere)

    assert (await store.get_job(job_id)).job_id == job_id


async def test_loop_that_is_gone_is_not_told(lab):
    store = await lab.open()
    blocked = threading.Event()
    loop = asyncio.new_event_loop()

    async def leave() -> None:
        store._write(lambda tx: blocked.wait(10) and insert("a")(tx))

    await asyncio.to_thread(loop.run_until_complete, leave())
    loop.close()
    blocked.set()

    assert await keys(store) == ["a"]


async def test_closing_refuses_what_comes_later(lab):
    store = await lab.open()
    writer = store._open_writer
    await store.close()
    await writer.close()

    with pytest.raises(StoreError, match="closed"):
        writer.submit(insert("a"))
    with pytest.raises(StoreError, match="closed"):
        writer.run(insert("a"))


async def test_watching_outlives_a_locked_file(lab):
    store = await lab.open(busy_seconds=0.01)
    other = sqlite3.connect(lab.path, isolation_level=None)
    with store.hints.subscribe("topic") as told:
        other.execute("BEGIN IMMEDIATE")
        lab.clock.advance(1)
        with pytest.raises(StoreError):
            await store.insert_job(job())
        other.execute("ROLLBACK")
        other.close()

        for _ in range(3):
            lab.clock.advance(1)
            await store.list_jobs(JobQuery())
            await keys(store)

        assert told.is_set()
