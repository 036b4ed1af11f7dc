"""What becomes of verbs while PostgreSQL restarts, is cut off, refuses, or waits."""

import asyncio
import logging
import socket
import threading
import time
from datetime import timedelta

import psycopg
import pytest

from holdfast.errors import ConfigError, SchemaVersionError, StoreCorruptError, StoreUnavailableError
from holdfast.model import Checkpoint, JobStatus
from holdfast.store import jobs, open_store, postgres_hints, usage
from holdfast.store.base import JobQuery, LaneRequest, NewEvent, PruneRequest
from holdfast.store.hints import QUEUED
from holdfast.store.postgres_hints import payloads
from holdfast.store.postgres_store import PostgresStore
from holdfast.store.versions import upgrade
from holdfast.testing.servers.pgbouncer import PgBouncer
from holdfast.testing.servers.postgres import Postgres
from holdfast.testing.store_suite.support import (
    claimed,
    intent,
    job,
    outcome,
    put,
    settle,
    start,
    submit,
    worker,
)

pytestmark = [pytest.mark.requires("initdb", "postgres"), pytest.mark.timeout(60)]

PATIENCE_SECONDS = 20.0


@pytest.fixture
async def opened(postgres_url):
    """Open stores on one database, with the server's own clock."""
    stores = []

    async def open_one(**options) -> PostgresStore:
        store = PostgresStore(postgres_url, **options)
        await store.open()
        stores.append(store)
        await store.listening()
        return store

    yield open_one
    for store in stores:
        await store.close()


async def ready(store: PostgresStore) -> PostgresStore:
    await asyncio.to_thread(store.beat, worker("w1", lease_seconds=600.0), first=True)
    return store


async def insist(write) -> int:
    """Write as the engine does: once more if the outcome of the first try is unknown."""
    try:
        await write()
    except StoreUnavailableError:
        await write()
        return 1
    return 0


# cuts -------------------------------------------------------------------------------------------


async def test_writes_wait_through_a_restart_of_the_server():
    """A batch that was not on its way to commit is run again; steps insist on the rest."""
    with Postgres(fsync=False) as server:
        store = PostgresStore(server.url)
        await store.open()
        await ready(store)
        lease = await start(store)
        stopped = threading.Thread(target=server.restart)

        unsure = 0
        stopped.start()
        for number in range(200):
            unsure += await insist(lambda n=number: put(store, lease, f"step/{n}"))
            if not stopped.is_alive() and number > 50:
                break
        stopped.join()
        await put(store, lease, "last")

        found = await store.get_records(lease.job_id)
        assert unsure <= 1  # at most the batch whose commit was under way
        assert found.checkpoints[-1].key == "last"
        events = await store.read_events(lease.job_id, limit=1_000)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        await store.close()


async def test_all_connections_cut_are_opened_again(opened, postgres_server):
    store = await ready(await opened())
    other = await opened()
    lease = await start(store)

    for number in range(5):
        postgres_server.cut_all_connections()
        await insist(lambda n=number: put(store, lease, f"step/{n}"))
        assert (await other.get_job(lease.job_id)).status is JobStatus.RUNNING
        assert (
            await asyncio.to_thread(store.beat, worker("w1", lease_seconds=600.0), first=False)
        ).alive

    await asyncio.wait_for(store.listening(), PATIENCE_SECONDS)
    assert len((await store.get_records(lease.job_id)).checkpoints) == 5


async def test_server_that_stays_away_is_told_after_a_while(caplog):
    with Postgres(fsync=False) as server:
        store = PostgresStore(server.url, patience_seconds=0.3)
        await store.open()
        job_id = await submit(store)
        server.kill()

        with pytest.raises(StoreUnavailableError, match="does not answer"):
            await submit(store)
        with pytest.raises(StoreUnavailableError):
            await store.get_job(job_id)

        server.start()
        assert (await store.get_job(job_id)).status is JobStatus.QUEUED
        await store.close()


async def test_server_that_became_a_standby_is_left_for_the_new_primary(opened, postgres_url):
    """After a failover the old primary refuses writes until it is gone; nothing is lost meanwhile."""
    store = await opened()
    name = psycopg.conninfo.conninfo_to_dict(postgres_url)["dbname"]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            " AND pid <> pg_backend_pid()",
            (name,),
        )
        waiting = asyncio.ensure_future(submit(store))
        await asyncio.wait([waiting], timeout=0.5)
        assert not waiting.done()
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')

    assert (await store.get_job(await waiting)).status is JobStatus.QUEUED


# waiting ------------------------------------------------------------------------------------------


async def test_statement_timeout_fails_the_verb_and_nothing_else(opened, postgres_url):
    name = psycopg.conninfo.conninfo_to_dict(postgres_url)["dbname"]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        await (await opened()).close()
        admin.execute(f"ALTER DATABASE \"{name}\" SET statement_timeout = '1s'")
        store = await ready(await opened())
        blocked, free = await start(store), await start(store)
        with psycopg.connect(postgres_url) as blocker:
            blocker.execute("SELECT 1 FROM jobs WHERE job_id = %s FOR UPDATE", (blocked.job_id,))

            refused, passed = await asyncio.gather(
                put(store, blocked, "a"), put(store, free, "b"), return_exceptions=True
            )

        assert isinstance(refused, StoreUnavailableError)
        assert passed is None
        await put(store, blocked, "a")


async def test_transactions_that_wait_for_each_other_both_hold(opened):
    """PostgreSQL ends one of two that wait for each other's rows; it is run again."""
    one, two = await ready(await opened()), await opened()
    first, second = await start(one), await start(one)
    meet = threading.Barrier(2, timeout=PATIENCE_SECONDS)

    def cross(a: str, b: str):
        tries = []

        def touch(tx) -> int:
            tries.append(1)
            assert tx.execute("UPDATE jobs SET priority = priority + 1 WHERE job_id = ?", (a,)).rowcount
            if len(tries) == 1:
                meet.wait()
            tx.execute("UPDATE jobs SET priority = priority + 1 WHERE job_id = ?", (b,))
            return len(tries)

        return touch

    tries = await asyncio.gather(
        one._write(cross(first.job_id, second.job_id)), two._write(cross(second.job_id, first.job_id))
    )

    assert sum(tries) >= 3
    for lease in (first, second):
        assert (await one.get_job(lease.job_id)).priority == 2


async def test_same_new_lane_is_made_once_by_two_processes(opened):
    one, two = await opened(), await opened()
    request = LaneRequest(
        lane="new", tokens=1, requests_per_minute=60, tokens_per_minute=60, burst_seconds=5
    )

    grants = await asyncio.gather(*(store.take_lane(request) for store in (one, two) * 6))

    # A new lane holds five seconds' worth, whoever asks.
    assert sum(grant.granted for grant in grants) in (5, 6)


async def test_full_server_is_told_and_waited_for():
    with Postgres(fsync=False, settings={"max_connections": "8"}) as server:
        store = PostgresStore(server.url, patience_seconds=0.3)
        hogs = []
        try:
            while True:
                hogs.append(psycopg.connect(server.url))
        except psycopg.OperationalError:
            with pytest.raises(StoreUnavailableError, match="too many clients"):
                await store.open()
        patient = PostgresStore(server.url)
        opening = asyncio.ensure_future(patient.open())
        # Closed one by one, and the server takes a moment to notice.
        for hog in hogs:
            hog.close()
        await opening
        await patient.close()


# hints --------------------------------------------------------------------------------------------


async def test_other_processes_hear_of_what_they_follow_without_looking(opened, monkeypatch):
    monkeypatch.setattr(postgres_hints, "LOOK_ANYWAY_SECONDS", 600.0)
    writer, follower = await ready(await opened()), await opened()
    lease = await start(writer)
    with (
        follower.hints.subscribe(lease.job_id) as grown,
        follower.hints.subscribe(QUEUED) as queued,
    ):
        await asyncio.wait_for(grown.wait(), PATIENCE_SECONDS)  # its wish was heard
        grown.clear()
        queued.clear()

        await writer.append_events(lease, [NewEvent(type="x")])
        await submit(writer)

        await asyncio.wait_for(asyncio.gather(grown.wait(), queued.wait()), PATIENCE_SECONDS)


async def test_process_that_starts_late_learns_what_others_follow(opened):
    follower = await opened()
    with follower.hints.subscribe("job_followed"):
        late = await opened()

        async def learnt() -> None:
            while "job_followed" not in late._exchange._wanted:
                await late.take_lane(
                    LaneRequest(
                        lane="x", tokens=1, requests_per_minute=1, tokens_per_minute=1, burst_seconds=1
                    )
                )

        await asyncio.wait_for(learnt(), PATIENCE_SECONDS)


def test_too_many_topics_become_everything():
    few = payloads("me tell", ["a", "b"])
    many = payloads("me tell", [f"job_{number:026d}" for number in range(1_000)])
    too_many = payloads("me tell", [f"job_{number:026d}" for number in range(5_000)])

    assert few == ["me tell\na\nb"]
    assert len(many) > 1
    assert all(len(payload) < 8_000 for payload in many)
    assert sum(payload.count("job_") for payload in many) == 1_000
    assert too_many == ["me tell\n*"]


# pgbouncer ----------------------------------------------------------------------------------------


@pytest.fixture
def pgbouncer_url(requires):
    requires("pgbouncer")
    with Postgres(fsync=False) as server, PgBouncer(server) as pooler:
        yield pooler.url


async def test_pgbouncer_in_transaction_mode_works_and_hints_come_by_looking(pgbouncer_url):
    one, two = PostgresStore(pgbouncer_url), PostgresStore(pgbouncer_url)
    await one.open()
    await two.open()
    await ready(one)
    with two.hints.subscribe(QUEUED) as queued:
        queued.clear()
        leases = await asyncio.gather(*(start(one) for _ in range(5)))
        await asyncio.gather(
            *(put(one, lease, f"step/{number}") for lease in leases for number in range(10))
        )
        await asyncio.wait_for(queued.wait(), PATIENCE_SECONDS)

    for lease in leases:
        await settle(one, lease, JobStatus.COMPLETED)
        assert len((await two.get_records(lease.job_id)).checkpoints) == 10
    assert two._exchange is not None
    assert not two._exchange.listening.is_set()
    await one.close()
    await two.close()


# opening ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda url: url.rpartition("/")[0] + "/no_such_database", "refuses this user"),
        (lambda url: url.replace("postgres@", "nobody:s3cret@"), "refuses this user"),
        (lambda url: "postgresql://user:s3cret@host:port/db", "cannot be read"),
        (lambda url: "postgresql://user:s3cret@[::1/db", "cannot be read"),
    ],
)
async def test_wrong_urls_are_told_at_once_without_the_password(postgres_url, change, told):
    with pytest.raises(ConfigError, match=told) as caught:
        await open_store(change(postgres_url))

    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None or "s3cret" not in str(caught.value.__cause__)


@pytest.fixture
def unused_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_unreachable_server_is_told(unused_tcp_port):
    store = PostgresStore(f"postgresql://u:s3cret@127.0.0.1:{unused_tcp_port}/db", patience_seconds=0.2)

    with pytest.raises(
        StoreUnavailableError, match=f"127.0.0.1:{unused_tcp_port}/db does not answer"
    ) as e:
        await store.open()

    assert "s3cret" not in str(e.value)


async def test_many_openers_of_an_empty_database_migrate_it_once(postgres_url):
    stores = [PostgresStore(postgres_url) for _ in range(5)]

    await asyncio.gather(*(store.open() for store in stores))

    for store in stores:
        await submit(store)
    assert len(await stores[0].list_jobs(JobQuery())) == 5
    for store in stores:
        await store.close()


async def test_older_schema_is_refused_until_it_is_migrated(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        upgrade("postgresql+psycopg://", connection, lambda: "none", to="0001")
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(
            "INSERT INTO jobs (job_id, kind, queue, status, priority, created_at, available_at,"
            " event_seq) VALUES ('job_old', 'report', 'default', 'queued', 0, 1, 1, 0)"
        )
        admin.execute("INSERT INTO payloads SELECT id, '{}' FROM jobs")

    with pytest.raises(SchemaVersionError, match="holdfast migrate"):
        await open_store(postgres_url)
    store = await open_store(postgres_url, migrate=True)

    await asyncio.to_thread(store.beat, worker("w1"), first=True)
    assert (await claimed(store, "job_old")).job.input == b"{}"
    await store.close()
    await (await open_store(postgres_url)).close()


async def test_newer_schema_and_foreign_tables_are_refused(postgres_url):
    await (await open_store(postgres_url)).close()
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(SchemaVersionError, match="9999"):
            await open_store(postgres_url)
        admin.execute("DROP TABLE alembic_version")
        with pytest.raises(StoreCorruptError, match="another application"):
            await open_store(postgres_url)


async def test_times_are_the_servers_even_if_this_machine_is_wrong(opened, postgres_url, caplog):
    caplog.set_level(logging.INFO)
    store = await opened()
    job_id = (await store.insert_job(job(delay=timedelta(seconds=30)))).job.job_id
    found = await store.get_job(job_id)
    with psycopg.connect(postgres_url) as admin:
        row = admin.execute("SELECT clock_timestamp()").fetchone()

    assert row is not None
    assert abs((row[0] - found.created_at).total_seconds()) < 5
    assert found.available_at is not None
    assert (found.available_at - found.created_at) == timedelta(seconds=30)


# what a review found ------------------------------------------------------------------------------


async def test_cut_before_the_commit_is_run_again_and_not_taken_for_one(opened):
    """On another connection COMMIT would be no more than a warning."""
    store = await opened()
    cuts = [1]

    def insert_and_cut(tx):
        submitted = jobs.insert_job(tx, job(job_id="job_cut"))
        if cuts:
            cuts.pop()
            store._writers[0].runner.connection.pgconn.finish()
        return submitted

    assert (await store._write(insert_and_cut)).created
    assert (await store.get_job("job_cut")).status is JobStatus.QUEUED


async def test_call_settled_again_while_the_first_time_commits_is_booked_once(opened):
    one, two = await ready(await opened()), await opened()
    lease = await start(one)
    await one.reserve_call(lease, intent())
    booked, go_on = threading.Event(), threading.Event()

    def settle_slowly(tx) -> None:
        usage.settle_call(tx, lease, intent().call_id, outcome(), alone=True)
        assert tx.execute("SELECT 1").fetchone()
        booked.set()
        assert go_on.wait(PATIENCE_SECONDS)

    first = asyncio.ensure_future(one._write_alone(settle_slowly))
    assert await asyncio.to_thread(booked.wait, PATIENCE_SECONDS)
    second = asyncio.ensure_future(two.settle_call(lease, intent().call_id, outcome()))
    await waiting_for_a_lock(two)
    go_on.set()
    await asyncio.gather(first, second)

    found = (await one.get_job(lease.job_id)).usage
    assert (found.calls, found.reserved_tokens) == (1, 0)


async def test_prune_waits_for_a_fork_of_the_job(opened):
    one, two = await ready(await opened()), await opened()
    lease = await start(one)
    await one.put_checkpoint(lease, Checkpoint(key="a", blob="f" * 64), ())
    await settle(one, lease, JobStatus.COMPLETED, output=b"1")
    copied, go_on = threading.Event(), threading.Event()

    def fork_slowly(tx) -> None:
        jobs.fork_job(tx, lease.job_id, job(job_id="job_fork"), None)
        assert tx.execute("SELECT 1").fetchone()
        copied.set()
        assert go_on.wait(PATIENCE_SECONDS)

    forking = asyncio.ensure_future(one._write_alone(fork_slowly))
    assert await asyncio.to_thread(copied.wait, PATIENCE_SECONDS)
    request = PruneRequest(older_than=timedelta(0), limit=10)
    pruning = asyncio.ensure_future(two.prune_jobs(request))
    await waiting_for_a_lock(two)
    go_on.set()
    await forking

    assert (await pruning).unreferenced == ()
    assert (await one.get_records("job_fork")).checkpoints[0].blob == "f" * 64


async def waiting_for_a_lock(store: PostgresStore) -> None:
    """Return once a statement on the store's server waits for another transaction."""
    sql = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await store._read(lambda tx: tx.execute(sql).fetchone()[0]):
            pass


async def test_heartbeat_waits_for_nobody(opened):
    store = await ready(await opened())
    go_on = threading.Event()
    busy = [asyncio.ensure_future(writer.submit(lambda _: go_on.wait(10))) for writer in store._writers]

    pulse = await asyncio.to_thread(store.beat, worker("w1", lease_seconds=600.0), first=False)

    assert pulse.alive
    assert not any(each.done() for each in busy)
    go_on.set()
    await asyncio.gather(*busy)


async def test_database_that_is_away_for_a_while_is_not_taken_for_a_wrong_setting(opened, postgres_url):
    store = await ready(await opened(patience_seconds=0.2))
    name = psycopg.conninfo.conninfo_to_dict(postgres_url)["dbname"]
    admin_url = postgres_url.rpartition("/")[0] + "/postgres"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        await asyncio.to_thread(store.beat, worker("w1", lease_seconds=600.0), first=False)
        rename(admin, str(name), "elsewhere")
        with pytest.raises(StoreUnavailableError):
            await asyncio.to_thread(store.beat, worker("w1"), first=False)
        rename(admin, "elsewhere", str(name))

    assert (await asyncio.to_thread(store.beat, worker("w1"), first=False)).alive


def rename(admin: psycopg.Connection, old: str, new: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (old,)
        )
        try:
            admin.execute(f'ALTER DATABASE "{old}" RENAME TO "{new}"')
        except psycopg.errors.ObjectInUse:
            continue
        return
    raise AssertionError(f"{old} stays in use")
