"""Pruning at scale: small transactions, by index; and nothing that was deleted is left in the file."""

import asyncio
import random
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from holdfast.errors import StoreUnavailableError
from holdfast.model import Checkpoint, JobStatus
from holdfast.store.base import NewEvent, PruneRequest
from holdfast.store.pruning import ROWS_MAX, prune_jobs
from holdfast.store.rows import micros
from holdfast.store.sqlite_runner import SqliteTransaction
from holdfast.testing.store_suite.retention import prune_all
from holdfast.testing.store_suite.support import intent, outcome, settle, start, worker

JOBS = 10_000
EVENTS = 4
MARKER = b"Ada-Lovelace"

# One in a hundred jobs has a subject; every tenth is the child of the one before the ten.
FILL = f"""
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {JOBS})
INSERT INTO jobs (job_id, kind, queue, status, priority, subject, parent, event_seq, step_number,
    created_at, finished_at)
SELECT printf('job_%08d', i), 'kind' || (i % 3), 'q', 'completed', 0,
    CASE WHEN i % 100 = 0 THEN 'u_1' END, CASE WHEN i % 10 = 5 THEN i - 4 END, {EVENTS}, 2, i, i
FROM n
"""
RECORDS = (
    "INSERT INTO payloads (job, input) SELECT id, '{}' FROM jobs",
    (
        "INSERT INTO checkpoints (job, key, finished, blob, seconds, attempts, number, starts)"
        " SELECT id, k.key, 1, printf('%064d', id % 100), 0, 1, 1, 1 FROM jobs,"
        " (SELECT 'a' AS key UNION SELECT 'b') k"
    ),
    (
        "INSERT INTO artifacts (job, name, step_key, sha256, size_bytes, media_type, created_at)"
        " SELECT id, 'a', 'a', printf('%064d', id), 1, 'text/plain', 1 FROM jobs"
    ),
    (
        f"INSERT INTO events (job, seq, type, data, at) SELECT id, e.seq, 'x', '{{}}', 1 FROM jobs,"
        f" (WITH RECURSIVE e(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM e WHERE seq < {EVENTS})"
        " SELECT seq FROM e) e"
    ),
    (
        "INSERT INTO calls (job, call_id, step_key, step_attempt, epoch, provider, model, status,"
        " reserved_tokens, started_at) SELECT id, 'c', 'a', 1, 1, 'p', 'm', 'settled', 1, 1 FROM jobs"
    ),
)
TABLES = ("jobs", "payloads", "checkpoints", "artifacts", "events", "calls")


class Watched(SqliteTransaction):
    """A transaction that notes the plan of each statement."""

    def __init__(self, database: sqlite3.Connection, now: int) -> None:
        super().__init__(database, now)
        self.database = database
        self.plans: list[str] = []
        self.execute = self.explained

    def explained(self, sql, arguments=()):
        rows = self.database.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)
        self.plans += [f"{row[3]} <- {' '.join(sql.split())[:60]}" for row in rows]
        return self.database.execute(sql, arguments)


@pytest.fixture
def filled(lab):
    with closing(sqlite3.connect(lab.path, isolation_level=None)) as database:
        for statement in (FILL, *RECORDS):
            database.execute(statement)
        yield database


def counts(database):
    return {table: database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in TABLES}


@pytest.mark.parametrize(
    "request_",
    [
        PruneRequest(older_than=timedelta()),
        PruneRequest(kind="kind1"),
        PruneRequest(subject="u_1"),
        PruneRequest(files=("0" * 64, "1" * 64)),
    ],
    ids=["age", "kind", "subject", "files"],
)
def test_pruning_searches_by_index_and_never_through_a_whole_table(lab, filled, request_):
    tx = Watched(filled, micros(lab.clock.now()))

    pruned = prune_jobs(tx, request_)

    assert pruned.job_ids or request_.files
    scans = [plan for plan in tx.plans if plan.startswith("SCAN")]
    sorts = [plan for plan in tx.plans if "FOR ORDER BY" in plan]
    assert (scans, sorts) == ([], [])
    if pruned.job_ids:
        assert any("jobs_finished" in p or "jobs_kind_f" in p or "jobs_subj" in p for p in tx.plans)


def test_ten_thousand_jobs_go_in_many_small_transactions_and_leave_nothing(lab, filled):
    """However many there are, one transaction changes a bounded number of rows."""
    gone: list[str] = []
    files: set[str] = set()
    most = 0
    more = True
    while more:
        tx = SqliteTransaction(filled, micros(lab.clock.now()))
        before = filled.total_changes
        pruned = prune_jobs(tx, PruneRequest(older_than=timedelta(), limit=1_000))
        most = max(most, filled.total_changes - before)
        gone += pruned.job_ids
        files.update(pruned.unreferenced)
        more = pruned.more

    # A job's own row, its payload and its artifact come on top of what is counted of each.
    assert most <= ROWS_MAX * 2
    assert len(gone) == len(set(gone)) == JOBS
    assert counts(filled) == dict.fromkeys(TABLES, 0)
    assert len(files) == JOBS + 1  # their own, and large results under 64 zeros


def test_one_prune_leaves_no_orphans(lab, filled):
    prune_jobs(SqliteTransaction(filled, micros(lab.clock.now())), PruneRequest(kind="kind1"))

    for table in TABLES[1:]:
        orphans = f"SELECT COUNT(*) FROM {table} WHERE job NOT IN (SELECT id FROM jobs)"
        assert filled.execute(orphans).fetchone()[0] == 0
    lost = "SELECT COUNT(*) FROM jobs WHERE parent NOT IN (SELECT id FROM jobs)"
    assert filled.execute(lost).fetchone()[0] == 0


# what was deleted, in the bytes of the file ----------------------------------------------------------


async def tell_everything(store, subject: str, mark: bytes, rng: random.Random) -> None:
    """Run a job that has `mark` in everything it can have, of sizes that fill and split pages."""

    def text(longest: int) -> bytes:
        return b'"' + mark * rng.randint(1, longest) + b'"'

    name = mark.decode()
    key = f"{name}/{rng.random()}"
    lease = await start(store, subject=subject, input=text(2_000), idempotency_key=key, tenant=name)
    for number in range(rng.randint(1, 4)):
        call = intent(f"{name}{number}", step_key=name)
        await store.reserve_call(lease, call)
        await store.settle_call(lease, call.call_id, outcome(response_id=name))
        checkpoint = Checkpoint(key=f"{name}{number}", value=text(1_000))
        await store.put_checkpoint(lease, checkpoint, [NewEvent(type="note", data=text(100))])
    await settle(store, lease, JobStatus.COMPLETED, output=text(2_000))


async def test_erased_data_is_in_no_file_of_the_store(lab, tmp_path):
    """Not in free pages, not in the gaps of others, not in the log."""
    store = await lab.open(synchronous="NORMAL")
    store.beat(worker("w1"), first=True)
    rng = random.Random(7)
    for _ in range(10):
        await asyncio.gather(
            *(tell_everything(store, "u_1", MARKER, rng) for _ in range(6)),
            *(tell_everything(store, "u_2", b"somebody-else", rng) for _ in range(6)),
        )

    assert len(await prune_all(store, subject="u_1")) == 60
    await store.prune_jobs(PruneRequest(subject="u_1"))

    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert [name for name, content in files.items() if MARKER in content] == []
    assert [name for name, content in files.items() if b"u_1" in content] == []
    assert b"somebody-else" in files["holdfast.db"]
    assert len(await prune_all(store, subject="u_2")) == 60


async def test_traces_that_cannot_be_removed_now_are_told_and_removed_by_the_next_call(lab):
    store = await lab.open(busy_seconds=0.05)
    store.beat(worker("w1"), first=True)
    lease = await start(store, subject="u_1", input=b'"' + MARKER + b'"')
    await settle(store, lease, JobStatus.COMPLETED, output=b"1")
    await prune_all(store, subject="u_1")
    log = lab.path.with_name("holdfast.db-wal")
    with closing(sqlite3.connect(lab.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM jobs").fetchone()

        with pytest.raises(StoreUnavailableError):
            await store.prune_jobs(PruneRequest(subject="u_1"))
        assert MARKER in log.read_bytes()

    await store.prune_jobs(PruneRequest(subject="u_1"))
    assert log.read_bytes() == b""
    assert MARKER not in lab.path.read_bytes()
