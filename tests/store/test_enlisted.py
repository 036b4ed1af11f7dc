"""Jobs in the caller's own SQLAlchemy transactions, on both databases and by every driver."""

import asyncio
import contextlib
import functools
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from holdfast.errors import (
    ConfigError,
    IdempotencyConflictError,
    InvalidInputError,
    JobNotFoundError,
    SchemaVersionError,
    StoreUnavailableError,
)
from holdfast.ids import new_id
from holdfast.model import Budget, JobStatus
from holdfast.sealing import load_keyring, new_key
from holdfast.store import enlisted, open_store
from holdfast.store.base import NewJob
from holdfast.store.enlisted import SqlEnlister
from holdfast.store.sealed import open_sealed
from holdfast.store.sql_store import SqlStore
from holdfast.testing.signals import eventually

NO_KEYS = load_keyring("")


def job(**fields: Any) -> NewJob:
    return NewJob(
        **{
            "job_id": new_id("job"),
            "kind": "invoice",
            "queue": "invoice",
            "input": b'{"order":1}',
            **fields,
        }
    )


class Shop:
    """An application's own engine on the store's database, with a table of orders."""

    def __init__(self, store: SqlStore, url: str, driver: str) -> None:
        self.store = store
        self.url = url
        _, _, place = url.partition("://")
        base = {"pysqlite": "sqlite+pysqlite", "aiosqlite": "sqlite+aiosqlite"}.get(
            driver, f"postgresql+{driver}"
        )
        self.is_async = driver in ("aiosqlite", "asyncpg")
        self.engine_url = f"{base}://{place}"
        self.engine: Any = self.engine_with()
        self.enlister = SqlEnlister(url, NO_KEYS)

    def engine_with(self, **options: Any) -> Any:
        if self.is_async:
            return create_async_engine(self.engine_url, **options)
        return create_engine(self.engine_url, **options)

    async def insert(
        self, within: Any, new: NewJob, committing: Callable[[], None] = lambda: None
    ) -> Any:
        return await self.enlister.insert_job(within, new, committing)

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        """A session whose methods are awaited or not, as `of` does."""
        if self.is_async:
            async with AsyncSession(self.engine) as session:
                yield session
        else:
            with Session(self.engine) as session:
                yield session

    async def orders(self) -> int:
        async with self.session() as session:
            return int((await of(session.execute(text("SELECT COUNT(*) FROM orders")))).scalar_one())

    async def has(self, job_id: str) -> bool:
        try:
            await self.store.get_job(job_id)
        except JobNotFoundError:
            return False
        return True

    async def close(self) -> None:
        await of(self.engine.dispose())


async def of(given: Any) -> Any:
    """Return what was given, or what awaiting it gives."""
    return await given if isinstance(given, Awaitable) else given


ORDER = text("INSERT INTO orders (item) VALUES ('book')")


@pytest.fixture(params=["pysqlite", "aiosqlite", "psycopg", "asyncpg"])
async def shop(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Shop]:
    postgres = request.param in ("psycopg", "asyncpg")
    url = (
        request.getfixturevalue("postgres_url") if postgres else f"sqlite:///{tmp_path / 'holdfast.db'}"
    )
    store = await open_store(url)
    shop = Shop(store, url, request.param)
    async with shop.session() as session:
        await of(session.execute(text("CREATE TABLE orders (item TEXT)")))
        await of(session.commit())
    yield shop
    await shop.close()
    await store.close()


async def test_order_and_job_are_committed_together(shop: Shop):
    new = job(tenant="t", budget=Budget(usd="1.5", tokens=7), priority=3)

    async with shop.session() as session:
        await of(session.execute(ORDER))
        submitted = await shop.insert(session, new)
        before = await shop.has(new.job_id)
        await of(session.commit())

    assert not before
    assert await shop.orders() == 1
    assert await shop.store.get_job(new.job_id) == submitted.job
    assert [event.type for event in await shop.store.read_events(new.job_id)] == ["job.queued"]


async def test_order_and_job_are_rolled_back_together(shop: Shop):
    new = job()

    async with shop.session() as session:
        await of(session.execute(ORDER))
        await shop.insert(session, new)
        await of(session.rollback())

    assert await shop.orders() == 0
    assert not await shop.has(new.job_id)


async def test_job_goes_with_the_savepoint_it_was_submitted_in(shop: Shop):
    kept, dropped = job(), job()

    async with shop.session() as session:
        await shop.insert(session, kept)
        savepoint = await of(session.begin_nested())
        await shop.insert(session, dropped)
        await of(savepoint.rollback())
        await of(session.execute(ORDER))
        await of(session.commit())

    assert (await shop.has(kept.job_id), await shop.has(dropped.job_id)) == (True, False)
    assert await shop.orders() == 1


async def test_connection_serves_as_well_as_a_session(shop: Shop):
    new = job()

    if shop.is_async:
        async with shop.engine.begin() as connection:
            await shop.insert(connection, new)
    else:
        with shop.engine.begin() as connection:
            await shop.insert(connection, new)

    assert await shop.has(new.job_id)


async def test_scoped_session_serves_as_well(shop: Shop):
    new = job()
    scoped: Any
    if shop.is_async:
        scoped = async_scoped_session(async_sessionmaker(shop.engine), asyncio.current_task)
    else:
        scoped = scoped_session(sessionmaker(shop.engine))

    await shop.insert(scoped, new)
    await of(scoped.commit())
    await of(scoped.remove())

    assert await shop.has(new.job_id)


async def test_repeated_key_gives_the_same_job_within_and_after_the_transaction(shop: Shop):
    first = job(idempotency_key="order-1")

    async with shop.session() as session:
        await shop.insert(session, first)
        within = await shop.insert(session, job(idempotency_key="order-1"))
        await of(session.commit())
    async with shop.session() as session:
        after = await shop.insert(session, job(idempotency_key="order-1"))
        await of(session.commit())

    assert [(found.job.job_id, found.created) for found in (within, after)] == [
        (first.job_id, False)
    ] * 2


async def test_conflict_of_keys_leaves_the_transaction_usable(shop: Shop):
    await shop.store.insert_job(job(idempotency_key="order-1"))

    async with shop.session() as session:
        with pytest.raises(IdempotencyConflictError, match="key 'order-1' already belongs to job"):
            await shop.insert(session, job(idempotency_key="order-1", input=b'{"order":2}'))
        await of(session.execute(ORDER))
        await of(session.commit())

    assert await shop.orders() == 1


async def test_caller_is_told_of_the_commit_and_not_of_a_rollback(shop: Shop):
    told: list[str] = []

    async with shop.session() as session:
        await shop.insert(session, job(), lambda: told.append("rolled back"))
        await of(session.rollback())
    async with shop.session() as session:
        await shop.insert(session, job(), lambda: told.append("committed"))
        before = list(told)
        await of(session.commit())

    assert (before, told) == ([], ["committed"])


async def test_many_jobs_on_one_connection_leave_one_listener(tmp_path: Any):
    url = f"sqlite:///{tmp_path / 'holdfast.db'}"
    store = await open_store(url)
    engine = create_engine(url)
    enlister = SqlEnlister(url, NO_KEYS)
    told: list[int] = []

    with engine.connect() as connection:
        for number in range(200):
            enlister.insert(connection, job(), functools.partial(told.append, number))
            if number % 50 == 0:
                connection.rollback()
            if number % 50 == 49:
                connection.commit()
        listeners = len(list(connection.dispatch.commit))
    engine.dispose()
    await store.close()

    assert listeners == 1
    assert told == [number for number in range(200) if number % 50]


@pytest.mark.parametrize(
    "fields",
    [{"priority": 2**31}, {"subject": "s" * 256}, {"tenant": "a\0"}, {"delay": timedelta(days=36_501)}],
)
async def test_what_no_store_can_hold_is_refused_and_the_transaction_goes_on(
    shop: Shop, fields: dict[str, Any]
):
    async with shop.session() as session:
        await of(session.execute(ORDER))
        with pytest.raises(InvalidInputError):
            await shop.insert(session, job(**fields))
        await of(session.commit())

    assert await shop.orders() == 1


async def test_committed_job_is_claimable_by_what_was_never_told_of_it(shop: Shop):
    """The process died between commit and announcement: the waker finds the job."""
    new = job()
    async with shop.session() as session:
        await shop.insert(session, new)
        await of(session.commit())

    wakeup = await shop.store.wake_jobs(redispatch_after=timedelta())

    assert [found.job_id for found in wakeup.dispatches] == [new.job_id]


async def test_hint_reaches_who_waits_for_jobs(shop: Shop):
    """By NOTIFY at the commit on PostgreSQL, by the file's version on SQLite."""
    if hasattr(shop.store, "listening"):
        await shop.store.listening()
    with shop.store.hints.subscribe("queued") as queued:
        queued.clear()
        async with shop.session() as session:
            await shop.insert(session, job())
            await of(session.commit())
        async with asyncio.timeout(10):
            await queued.wait()


async def test_sealing_keys_seal_here_too(shop: Shop):
    keys = load_keyring(new_key("k1"))
    sealed = await open_sealed(shop.store, keys)
    shop.enlister = SqlEnlister(shop.url, keys)
    first = job(idempotency_key="k")

    async with shop.session() as session:
        submitted = await shop.insert(session, first)
        again = await shop.insert(session, job(idempotency_key="k"))
        with pytest.raises(IdempotencyConflictError):
            await shop.insert(session, job(idempotency_key="k", input=b"2"))
        await of(session.commit())

    assert (await shop.store.get_job(first.job_id)).input.startswith(b'"$sealed:')
    assert (await sealed.get_job(first.job_id)).input == submitted.job.input == first.input
    assert (again.created, again.job.job_id) == (False, first.job_id)


async def test_connection_without_transactions_is_refused(shop: Shop):
    engine = shop.engine_with(isolation_level="AUTOCOMMIT")
    new = job()

    with pytest.raises(ConfigError, match="commits each statement by itself"):
        if shop.is_async:
            async with engine.connect() as connection:
                await shop.insert(connection, new)
        else:
            with engine.connect() as connection:
                await shop.insert(connection, new)
    await of(engine.dispose())

    assert not await shop.has(new.job_id)


async def test_database_at_another_schema_is_refused(shop: Shop):
    async with shop.session() as session:
        await of(session.execute(text("UPDATE alembic_version SET version_num = '0001'")))
        with pytest.raises(SchemaVersionError, match="at schema '0001'"):
            await shop.insert(session, job())


async def test_what_holds_no_transaction_is_refused(shop: Shop):
    with pytest.raises(ConfigError, match="a str is no transaction"):
        await shop.insert("session", job())


async def test_transaction_of_the_other_database_is_refused(shop: Shop):
    other = SqlEnlister(
        "postgresql://h/d" if shop.url.startswith("sqlite") else "sqlite:///x.db", NO_KEYS
    )

    async with shop.session() as session:
        with pytest.raises(ConfigError, match="the store is in"):
            await other.insert_job(session, job(), lambda: None)


async def test_sqlite_file_that_is_not_the_stores_is_refused(tmp_path: Any):
    enlister = SqlEnlister(f"sqlite:///{tmp_path / 'holdfast.db'}", NO_KEYS)
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")

    with Session(engine) as session, pytest.raises(ConfigError, match="open the same file with both"):
        enlister.insert(session, job())
    engine.dispose()


async def test_database_without_our_tables_is_refused_and_stays_usable(postgres_url: str):
    enlister = SqlEnlister(postgres_url, NO_KEYS)
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))

    with engine.begin() as connection:
        with pytest.raises(ConfigError, match="no tables of Holdfast"):
            enlister.insert(connection, job())
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


async def test_sqlite_file_without_our_tables_is_refused(tmp_path: Any):
    path = tmp_path / "holdfast.db"
    engine = create_engine(f"sqlite:///{path}")

    with engine.begin() as connection, pytest.raises(ConfigError, match="run 'holdfast migrate'"):
        SqlEnlister(f"sqlite:///{path}", NO_KEYS).insert(connection, job())
    engine.dispose()


async def test_driver_that_nobody_has_tried_is_refused(tmp_path: Any):
    engine = create_engine("sqlite://")
    engine.dialect.driver = "pysqlcipher"

    with engine.begin() as connection, pytest.raises(ConfigError, match="driver 'pysqlcipher'"):
        SqlEnlister(f"sqlite:///{tmp_path / 'holdfast.db'}", NO_KEYS).insert(connection, job())
    engine.dispose()


async def test_store_in_a_schema_of_its_own_is_written_to_there(postgres_url: str):
    plain = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with plain.begin() as connection:
        connection.execute(text("CREATE SCHEMA durable"))
    url = f"{postgres_url}?options=-csearch_path%3Ddurable"
    store = await open_store(url)
    enlister = SqlEnlister(url, NO_KEYS)
    new = job()

    with plain.begin() as connection:
        before = connection.execute(text("SHOW search_path")).scalar_one()
        enlister.insert(connection, new)
        after = connection.execute(text("SHOW search_path")).scalar_one()

    assert (await store.get_job(new.job_id)).status is JobStatus.QUEUED
    assert before == after != "durable"
    plain.dispose()
    await store.close()


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
async def test_key_taken_by_a_transaction_under_way_is_found_once_that_has_committed(
    postgres_url: str, level: str
):
    """Both looked for the key before either had written it; the second waits for the first."""
    store = await open_store(postgres_url)
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    enlister = SqlEnlister(postgres_url, NO_KEYS)
    first, second = job(idempotency_key="k"), job(idempotency_key="k")

    with engine.connect() as one, engine.connect().execution_options(isolation_level=level) as two:
        two.execute(text("SELECT 1 FROM jobs"))
        enlister.insert(one, first)
        waiting = asyncio.create_task(asyncio.to_thread(enlister.insert, two, second))
        await until_somebody_waits(engine)
        one.commit()
        outcome: Any
        (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
        two.commit()

    engine.dispose()
    await store.close()
    if level == "READ COMMITTED":
        assert (outcome.job.job_id, outcome.created) == (first.job_id, False)
    else:
        assert isinstance(outcome, StoreUnavailableError)


@pytest.mark.parametrize("own", ["0", "50ms", "1min"])
async def test_key_held_by_a_transaction_of_the_same_loop_is_not_waited_for_without_end(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, own: str
):
    monkeypatch.setattr(enlisted, "LOCK_SECONDS", 1)
    store = await open_store(postgres_url)
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    enlister = SqlEnlister(postgres_url, NO_KEYS)
    held, other = job(idempotency_key="k"), job(idempotency_key="other")

    with Session(engine) as one, Session(engine) as two:
        await enlister.insert_job(one, held, lambda: None)
        two.execute(text(f"SET LOCAL lock_timeout = '{own}'"))
        with pytest.raises(StoreUnavailableError, match="key 'k' is held by another transaction"):
            await enlister.insert_job(two, job(idempotency_key="k"), lambda: None)
        await enlister.insert_job(two, other, lambda: None)
        after = two.execute(text("SHOW lock_timeout")).scalar_one()
        two.commit()
        one.commit()

    assert (await store.get_job(other.job_id)).job_id == other.job_id
    assert after == own
    engine.dispose()
    await store.close()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_another_database_of_holdfast_is_refused(
    postgres_url: str, postgres_server: Any, driver: str
):
    name = new_id("test")
    other_url = postgres_server.create_database(name)
    stores = [await open_store(postgres_url), await open_store(other_url)]
    shop = Shop(stores[1], other_url, driver)
    enlister = SqlEnlister(postgres_url, NO_KEYS)

    async with shop.session() as session:
        with pytest.raises(ConfigError, match="tables of another Holdfast"):
            await enlister.insert_job(session, job(), lambda: None)
        assert (await of(session.execute(text("SELECT 1")))).scalar_one() == 1
    await shop.close()
    for store in stores:
        await store.close()
    postgres_server.drop_database(name)


async def test_store_is_asked_once_what_it_is_and_again_once_its_server_is_another(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    store = await open_store(postgres_url)
    asked: list[Any] = []
    ask = enlisted._identity_of

    def counted(place: Any) -> tuple[Any, ...]:
        asked.append(place)
        return ask(place)

    monkeypatch.setattr(enlisted, "_identity_of", counted)
    enlister = SqlEnlister(postgres_url, NO_KEYS)
    counts = []

    for _ in range(2):
        engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
        with Session(engine) as session:
            for _ in range(3):
                await enlister.insert_job(session, job(), lambda: None)
            session.commit()
        engine.dispose()
        counts.append(len(asked))
        enlister._home = ("as before a restart", 0, 0)
    await store.close()

    assert counts == [1, 2]


async def until_somebody_waits(engine: Any) -> None:
    def waits() -> bool:
        with engine.connect() as connection:
            sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return bool(connection.execute(text(sql)).scalar_one())

    await eventually(waits)


async def test_locked_file_is_told_in_sqlalchemys_own_words(tmp_path: Any):
    url = f"sqlite:///{tmp_path / 'holdfast.db'}"
    store = await open_store(url)
    engine = create_engine(url, connect_args={"timeout": 0})
    with contextlib.closing(sqlite3.connect(tmp_path / "holdfast.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with Session(engine) as session, pytest.raises(OperationalError, match="locked"):
            SqlEnlister(url, NO_KEYS).insert(session, job())
        other.execute("ROLLBACK")
    engine.dispose()
    await store.close()
