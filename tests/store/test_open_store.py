"""Opening by URL, and what opening loads and migrates."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from sqlalchemy import Engine, create_engine, inspect

from holdfast.clock import SystemClock
from holdfast.errors import ConfigError, StoreCorruptError, StoreError
from holdfast.store import open_store
from holdfast.store.base import ClaimRequest, JobQuery
from holdfast.store.schema import metadata
from holdfast.store.service import DELIVERY_KIND
from holdfast.store.sqlite_store import SqliteStore
from holdfast.store.versions import HEAD, NO_SCHEMA, REVISIONS, read_version, upgrade
from holdfast.testing.store_suite.support import KIND, job, submit, worker


async def test_url_names_an_absolute_or_a_relative_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url, path in (("sqlite:///a.db", "a.db"), (f"sqlite:///{tmp_path}/b.db", f"{tmp_path}/b.db")):
        store = await open_store(url)
        assert isinstance(store, SqliteStore)
        assert (store.path, type(store._clock)) == (path, SystemClock)
        await store.close()
    assert {"a.db", "b.db"} <= {found.name for found in tmp_path.iterdir()}


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/db", "mysql:", "x", "sqlite:///", "sqlite:///:memory:"]
)
async def test_other_urls_are_refused_without_showing_secrets(url):
    with pytest.raises(ConfigError, match=r"supported: sqlite:///|name a file") as caught:
        await open_store(url)

    assert "secret" not in str(caught.value)


def described(index) -> tuple[str, ...]:
    options = {name: str(value) for name, value in index["dialect_options"].items()}
    return (
        index["name"],
        str(index["column_names"]),
        str(index["unique"]),
        str(sorted(options.items())),
    )


def structure(engine: Engine) -> dict[str, object]:
    """Tables, columns and indexes, in whatever order the migrations added them."""
    found = inspect(engine)
    return {
        name: (
            {(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in found.get_columns(name)},
            found.get_pk_constraint(name)["constrained_columns"],
            {tuple(unique["column_names"]) for unique in found.get_unique_constraints(name)},
            {described(index) for index in found.get_indexes(name)},
        )
        for name in found.get_table_names()
        if name != "alembic_version"
    }


def test_migrations_arrive_at_the_schema(template, tmp_path):
    wanted = create_engine(f"sqlite:///{tmp_path}/schema.db")
    migrated = create_engine(f"sqlite:///{template}")
    metadata.create_all(wanted)

    assert structure(migrated) == structure(wanted)

    with closing(sqlite3.connect(template)) as connection:
        assert read_version(connection, "p") == HEAD == REVISIONS[-1]
    wanted.dispose()
    migrated.dispose()


async def test_deliveries_of_an_older_release_are_found_by_their_webhook(tmp_path):
    path = f"{tmp_path}/old.db"
    with closing(sqlite3.connect(path)) as connection:
        upgrade("sqlite://", connection, lambda: NO_SCHEMA, to="0004")
        connection.executemany(
            "INSERT INTO jobs (job_id, kind, queue, status, priority, created_at, concurrency_key,"
            " subject) VALUES (?, ?, ?, 'queued', 0, 1, ?, ?)",
            [
                ("job_1", DELIVERY_KIND, DELIVERY_KIND, f"kind:{DELIVERY_KIND} wh_1", None),
                ("job_2", "report", "reports", f"kind:{DELIVERY_KIND} wh_1", "guest-1"),
            ],
        )
        connection.execute("INSERT INTO payloads (job, input) SELECT id, x'7b7d' FROM jobs")
        connection.commit()

    store = await open_store(f"sqlite:///{path}")

    [found] = await store.service.list_deliveries("wh_1")
    assert found.job_id == "job_1"
    assert (await store.get_job("job_2")).subject == "guest-1"
    await store.close()


async def test_many_openers_of_a_new_file_migrate_it_once(tmp_path):
    stores = [SqliteStore(tmp_path / "new.db") for _ in range(6)]

    await asyncio.gather(*(store.open() for store in stores))

    for store in stores:
        await submit(store)
    assert len(await stores[0].list_jobs(JobQuery())) == 6
    for store in stores:
        await store.close()


async def test_different_files_can_be_migrated_at_once(tmp_path):
    stores = [SqliteStore(tmp_path / f"{number}.db") for number in range(4)]

    await asyncio.gather(*(store.open() for store in stores))

    for store in stores:
        assert (await store.inspect()).schema == HEAD
        await store.close()


async def test_failed_migration_leaves_an_empty_file(tmp_path, monkeypatch):
    def fail(config, revision) -> None:
        config.attributes["connection"].exec_driver_sql("CREATE TABLE half (x)")
        raise sqlite3.OperationalError("migration failed")

    path = tmp_path / "new.db"
    with monkeypatch.context() as patched:
        patched.setattr("alembic.command.upgrade", fail)
        with pytest.raises(StoreError, match="migration failed"):
            await SqliteStore(path).open()

    store = SqliteStore(path)
    await store.open()
    await submit(store)
    await store.close()


async def test_file_with_tables_but_no_version_is_not_ours(lab):
    with closing(sqlite3.connect(lab.path)) as connection:
        connection.execute("DELETE FROM alembic_version")
        connection.commit()

    with pytest.raises(StoreCorruptError, match="no version"):
        await lab.open()


def test_opening_a_current_file_loads_neither_alembic_nor_sqlalchemy(template):
    program = (
        "import asyncio, sys\nfrom holdfast.store import open_store\n"
        "async def main():\n await (await open_store('sqlite:///' + sys.argv[1])).close()\n"
        "asyncio.run(main())\nprint(*{'alembic', 'sqlalchemy'} & set(sys.modules))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", program, str(template)], check=False, capture_output=True, text=True
    )

    assert loaded.stderr == ""
    assert loaded.stdout.split() == []


async def test_file_has_wal_and_large_pages_and_syncs_each_commit(lab):
    async def pragma(store: SqliteStore, name: str) -> object:
        return await store._write(lambda tx: tx.execute(f"PRAGMA {name}").fetchone()[0])

    store = await lab.open()
    relaxed = await lab.open(synchronous="NORMAL")

    assert [await pragma(store, name) for name in ("journal_mode", "page_size", "synchronous")] == [
        "wal",
        8192,
        2,
    ]
    assert await pragma(relaxed, "synchronous") == 1


@pytest.mark.parametrize("queues", [None, ("q",)])
async def test_claim_reads_the_line_in_order_of_its_index(lab, queues):
    """A sort of the whole line for every claim would make a long line slow."""
    store = await lab.open()
    store.beat(worker("w1"), first=True)
    statements: list[str] = []
    await store._write(
        lambda tx: store._open_writer.runner.connection.set_trace_callback(statements.append)
    )
    await store.insert_job(job())
    await store.claim_jobs(ClaimRequest(worker_id="w1", kinds=(KIND,), queues=queues))
    await store._write(lambda tx: store._open_writer.runner.connection.set_trace_callback(None))

    [claim] = [statement for statement in statements if "epoch = epoch + 1" in statement]
    plan = await store._write(lambda tx: tx.execute(f"EXPLAIN QUERY PLAN {claim}").fetchall())

    steps = " ".join(str(step[3]) for step in plan)
    assert "USING COVERING INDEX jobs_claimable" in steps or "USING INDEX jobs_claimable" in steps
    assert "TEMP B-TREE" not in steps
