"""A running fleet goes on while the schema of its PostgreSQL database is brought forward."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import create_engine

from holdfast.errors import StoreUnavailableError
from holdfast.ids import new_id
from holdfast.store import open_store, postgres_runner, postgres_schema
from holdfast.store.base import Pulse
from holdfast.store.postgres_store import PostgresStore
from holdfast.store.schema import metadata
from holdfast.store.versions import HEAD, indexes_of, upgrade
from holdfast.testing.store_suite.support import start, worker
from tests.store.test_open_store import structure

pytestmark = [pytest.mark.requires("initdb", "postgres"), pytest.mark.timeout(100)]

OLD = "0002"
ROUNDS = 3
PATIENCE_SECONDS = 30.0


@pytest.fixture
def old_url(postgres_url) -> str:
    """A database of an older release, with some rows."""
    with psycopg.connect(postgres_url) as connection:
        upgrade("postgresql+psycopg://", connection, lambda: "none", to=OLD)
    with psycopg.connect(postgres_url) as admin:
        admin.execute(
            "INSERT INTO jobs (job_id, kind, queue, status, priority, created_at, tenant)"
            " SELECT 'job_' || n, 'report', 'default', 'succeeded', 0, n, 'acme'"
            " FROM generate_series(1, 500) n"
        )
    return str(postgres_url)


@pytest.fixture
async def fleet(old_url, monkeypatch):
    """A worker's store of the older release: it does not mind the schema."""
    store = PostgresStore(old_url)
    with monkeypatch.context() as patched:
        patched.setattr(postgres_runner, "prepare", lambda *_, **__: OLD)
        await store.open()
    await asyncio.to_thread(store.beat, worker("w1"), first=True)
    yield store
    await store.close()


@contextmanager
def reading(url: str, isolation: psycopg.IsolationLevel) -> Iterator[psycopg.Connection]:
    """Read jobs in a transaction that stays open."""
    with psycopg.connect(url) as reader:
        reader.isolation_level = isolation
        reader.execute("SELECT count(*) FROM jobs")
        yield reader


async def waiting(url: str, statement: str) -> int:
    """Return the server's process that waits with such a statement for another transaction."""
    sql = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND query LIKE %s"
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
            while True:
                row = await (await admin.execute(sql, (f"{statement}%",))).fetchone()
                if row is not None:
                    return int(row[0])


async def migrate(url: str) -> None:
    await (await open_store(url, migrate=True)).close()


def assert_is_at_head(url: str, server) -> None:
    """Check the tables against `schema.py`, and that every index is used."""
    database = new_id("schema")
    engines = [
        create_engine(each.replace("postgresql:", "postgresql+psycopg:"))
        for each in (url, server.create_database(database))
    ]
    metadata.create_all(engines[1])
    try:
        assert structure(engines[0]) == structure(engines[1])
    finally:
        for engine in engines:
            engine.dispose()
        server.drop_database(database)
    with psycopg.connect(url) as admin:
        assert admin.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
        assert admin.execute("SELECT indexrelid FROM pg_index WHERE NOT indisvalid").fetchall() == []


async def test_new_database_arrives_at_the_schema(postgres_url, postgres_server):
    await migrate(postgres_url)

    assert_is_at_head(postgres_url, postgres_server)


@pytest.mark.parametrize(
    ("isolation", "held_up"),
    [
        (psycopg.IsolationLevel.REPEATABLE_READ, "CREATE INDEX CONCURRENTLY"),  # by its snapshot
        (psycopg.IsolationLevel.READ_COMMITTED, "ALTER TABLE jobs"),  # by its lock
    ],
)
async def test_fleet_goes_on_while_a_reader_holds_the_migration_up(
    old_url, fleet, postgres_server, isolation, held_up
):
    with (
        reading(old_url, isolation) as reader,
        psycopg.connect(old_url, autocommit=True, options="-c lock_timeout=10s") as writer,
    ):
        migration = asyncio.create_task(migrate(old_url))
        for _ in range(ROUNDS):
            await waiting(old_url, held_up)
            assert (await asyncio.to_thread(fleet.beat, worker("w1"), first=False)).alive
            changed = await asyncio.to_thread(
                writer.execute, "UPDATE jobs SET event_seq = event_seq + 1 WHERE job_id = 'job_7'"
            )
            assert changed.rowcount == 1
            assert reader.execute("SELECT count(*) FROM jobs").fetchone() == (500,)
        assert not migration.done()
    await migration

    assert_is_at_head(old_url, postgres_server)
    assert (await asyncio.to_thread(fleet.beat, worker("w1"), first=False)).alive
    assert await fleet.rescue_jobs() == []
    with psycopg.connect(old_url) as admin:
        assert admin.execute("SELECT event_seq FROM jobs WHERE job_id = 'job_7'").fetchone() == (ROUNDS,)


async def test_migration_that_ends_between_two_indexes_is_repeated(
    old_url, postgres_server, monkeypatch
):
    built: list[str] = []

    def crash(connection, index) -> None:
        if built:
            raise KeyError(index.name)
        built.append(index.name)
        build(connection, index)

    build = postgres_schema._build
    with monkeypatch.context() as patched:
        patched.setattr(postgres_schema, "_build", crash)
        with pytest.raises(KeyError, match=indexes_of("0003")[1].name):
            await migrate(old_url)
    with psycopg.connect(old_url) as admin:
        assert admin.execute("SELECT version_num FROM alembic_version").fetchall() == [(OLD,)]

    await migrate(old_url)

    assert_is_at_head(old_url, postgres_server)


async def test_index_whose_build_was_cut_is_built_anew(old_url, postgres_server):
    with reading(old_url, psycopg.IsolationLevel.REPEATABLE_READ):
        migration = asyncio.create_task(migrate(old_url))
        pid = await waiting(old_url, "CREATE INDEX CONCURRENTLY")
        with psycopg.connect(old_url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
            assert await waiting(old_url, "DROP INDEX CONCURRENTLY") != pid  # connected again
    await migration

    assert_is_at_head(old_url, postgres_server)


async def test_many_migrators_do_it_once(old_url, postgres_server):
    await asyncio.gather(*(migrate(old_url) for _ in range(4)))

    assert_is_at_head(old_url, postgres_server)


async def test_reader_that_never_ends_is_told(old_url, monkeypatch):
    monkeypatch.setattr(postgres_schema, "TRIES", 2)
    monkeypatch.setattr(postgres_schema, "PAUSE_SECONDS", 0.01)

    with (
        reading(old_url, psycopg.IsolationLevel.READ_COMMITTED),
        pytest.raises(StoreUnavailableError, match="stayed locked while they were migrated"),
    ):
        await migrate(old_url)


async def test_locked_jobs_hold_up_neither_heartbeat_nor_lease(postgres_url, caplog):
    store = PostgresStore(postgres_url)
    await store.open()
    await store.listening()
    await asyncio.to_thread(store.beat, worker("w1"), first=True)
    lease = await start(store)
    await store.cancel_job(lease.job_id)

    with psycopg.connect(postgres_url) as admin, caplog.at_level(logging.DEBUG, "holdfast.store"):
        before = admin.execute("SELECT expires_at FROM workers").fetchone()
        admin.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        pulse = await asyncio.to_thread(store.beat, worker("w1"), first=False)
        after = admin.execute("SELECT expires_at FROM workers").fetchone()

    assert pulse == Pulse(alive=True)
    assert before is not None
    assert after is not None
    assert after[0] > before[0]
    assert "cancels are not known now" in caplog.messages
    assert (await asyncio.to_thread(store.beat, worker("w1"), first=False)).cancels == (lease.job_id,)
    await store.close()
