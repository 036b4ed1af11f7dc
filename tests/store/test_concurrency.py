"""What keeps jobs to the limit of their key costs no more behind a long line than behind a short one."""

import sqlite3
from contextlib import closing

import pytest

from holdfast.model import Budget, BudgetPeriod
from holdfast.store import tenants
from holdfast.store.concurrency import admit, unblock
from holdfast.store.sqlite_runner import SqliteTransaction

SHORT, LONG = 200, 20_000
LIMIT = 3


def in_line(template, count: int) -> sqlite3.Connection:
    """Return a database in which one job of a key runs and so many are blocked, of two kinds."""
    connection = sqlite3.connect(":memory:")
    with closing(sqlite3.connect(template)) as source:
        source.backup(connection)
    connection.executemany(
        "INSERT INTO jobs (job_id, kind, queue, status, blocked, priority, tenant, concurrency_key,"
        " concurrency_limit, created_at, available_at) VALUES (?, ?, 'q', ?, ?, 0, 't', 'k', ?, 1, ?)",
        [
            (f"job_{n}", "ab"[n % 2], "queued" if n else "running", int(n > 0), LIMIT, n)
            for n in range(count + 1)
        ],
    )
    return connection


def steps_of(connection: sqlite3.Connection, act) -> int:
    """Return how many hundreds of steps SQLite took."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    connection.set_progress_handler(count, 100)
    act(SqliteTransaction(connection, now=10**6))
    connection.set_progress_handler(None, 0)
    return taken


def let_next_in(tx: SqliteTransaction) -> None:
    tx.execute("UPDATE jobs SET status = 'completed', finished_at = 1 WHERE job_id = 'job_0'")
    unblock(tx, "k")


def turn_one_away(tx: SqliteTransaction) -> None:
    tx.execute("UPDATE jobs SET status = 'running', concurrency_limit = 0 WHERE job_id = 'job_1'")
    ((row,),) = tx.execute("SELECT id FROM jobs WHERE job_id = 'job_1'").fetchall()
    assert not admit(tx, row, "k", 1)


def set_budget(tx: SqliteTransaction) -> None:
    tenants.set_budget(tx, "t", BudgetPeriod.DAY, Budget(tokens=5))


@pytest.mark.parametrize("act", [let_next_in, turn_one_away, set_budget])
def test_long_line_is_not_read(template, act):
    taken = []

    for count in (SHORT, LONG):
        with closing(in_line(template, count)) as connection:
            taken.append(steps_of(connection, act))

    short, long = taken
    assert long <= 2 * short + 5


def test_each_queue_and_kind_gets_as_many_as_there_is_room_for(template):
    with closing(in_line(template, SHORT)) as connection:
        let_next_in(SqliteTransaction(connection, now=10**6))

        back = connection.execute(
            "SELECT kind, job_id FROM jobs WHERE blocked = 0 AND status = 'queued'"
        )
        assert sorted(back) == sorted(("ab"[n % 2], f"job_{n}") for n in range(1, 2 * LIMIT + 1))


def test_limit_that_was_changed_holds_for_those_that_came_after(template):
    with closing(in_line(template, SHORT)) as connection:
        connection.execute("UPDATE jobs SET concurrency_limit = 0 WHERE job_id = 'job_2'")
        connection.execute("UPDATE jobs SET concurrency_limit = 1 WHERE job_id = 'job_4'")
        let_next_in(SqliteTransaction(connection, now=10**6))

        back = connection.execute(
            "SELECT job_id FROM jobs WHERE blocked = 0 AND status = 'queued' AND kind = 'a'"
        )
        assert sorted(back) == [("job_10",), ("job_4",), ("job_6",), ("job_8",)]
