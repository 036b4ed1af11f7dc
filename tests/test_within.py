"""Submitting in a transaction of the application's own, through `App` and its client."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from holdfast import App, JobContext
from holdfast.engine import submission
from holdfast.engine.client import JobClient
from holdfast.errors import ConfigError, JobNotFoundError, StoreUnavailableError
from holdfast.model import Dispatch
from holdfast.settings import Settings
from holdfast.store.base import NewJob, Submitted
from holdfast.testing.harness import Harness
from holdfast.testing.signals import eventually

ORDER = text("INSERT INTO orders (item) VALUES ('book')")


@pytest.fixture
def app(tmp_path) -> App:
    app = App(Settings(home=tmp_path))

    @app.job("ship")
    async def ship(job: JobContext, item: str) -> str:
        return await job.step("ship", str.upper, item)

    return app


@pytest.fixture
async def engine(app: App, tmp_path) -> AsyncIterator[AsyncEngine]:
    async with app.client():
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'holdfast.db'}")
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE orders (item TEXT)"))
        yield engine
        await engine.dispose()


async def test_job_submitted_with_an_order_runs_once_both_are_committed(app: App, engine: AsyncEngine):
    async with app.worker() as client:
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(ORDER)
            job = await client.submit("ship", "book", within=session)
            with pytest.raises(JobNotFoundError):
                await client.get(job.job_id)

        assert await client.result(job.job_id) == "BOOK"


async def test_job_submitted_without_an_event_loop_runs_once_it_is_committed(app: App, engine, tmp_path):
    def order() -> str:
        engine = create_engine(f"sqlite:///{tmp_path / 'holdfast.db'}")
        with Session(engine) as session, session.begin():
            session.execute(ORDER)
            job = app.submit("ship", "book", within=session, idempotency_key="order-1")
        engine.dispose()
        return job.job_id

    async with app.worker() as client:
        job_id = await asyncio.to_thread(order)

        assert await client.result(job_id) == "BOOK"


class Announced:
    """A dispatcher that keeps what it was told."""

    def __init__(self) -> None:
        self.job_ids: list[str] = []

    async def dispatch(self, dispatches: Sequence[Dispatch]) -> None:
        self.job_ids += [dispatch.job_id for dispatch in dispatches]


class Client:
    """A client on a harness whose announcements are kept."""

    def __init__(self, harness: Harness, app: App) -> None:
        self.announced = Announced()
        self.client = JobClient(
            harness.store, harness.registry, self.announced, harness.artifacts, app._enlisting
        )


@pytest.fixture
async def harness(tmp_path, app) -> AsyncIterator[Harness]:
    async with Harness(tmp_path, registry=app.registry) as harness:
        yield harness


async def test_job_is_announced_after_the_commit_and_not_before(harness, app, engine):
    made = Client(harness, app)

    async with AsyncSession(engine) as session:
        job = await made.client.submit("ship", "book", within=session)
        before = list(made.announced.job_ids)
        await session.commit()
    await eventually(lambda: bool(made.announced.job_ids))

    assert (before, made.announced.job_ids) == ([], [job.job_id])


async def test_job_that_is_rolled_back_is_never_announced(harness, app, engine):
    made = Client(harness, app)

    async with AsyncSession(engine) as session:
        await made.client.submit("ship", "book", within=session)
        await session.rollback()
        kept = await made.client.submit("ship", "book", within=session)
        await session.commit()
    await eventually(lambda: bool(made.announced.job_ids))

    assert made.announced.job_ids == [kept.job_id]


async def test_commit_after_the_loop_has_ended_succeeds_and_leaves_the_job_to_the_waker(
    harness, app, engine, tmp_path
):
    made = Client(harness, app)
    own = create_engine(f"sqlite:///{tmp_path / 'holdfast.db'}")

    def order() -> str:
        with Session(own) as session:
            job = asyncio.run(made.client.submit("ship", "book", within=session))
            session.commit()
        return job.job_id

    job_id = await asyncio.to_thread(order)
    own.dispose()

    assert (await made.client.get(job_id)).job_id == job_id
    assert made.announced.job_ids == []


class Unsteady:
    """An enlister whose caller begins to commit and never does."""

    async def insert_job(self, within: object, new: NewJob, committing: Callable[[], None]) -> Submitted:
        committing()
        committing()
        raise InterruptedError


def unsteady(harness: Harness) -> Client:
    made = Client(harness, App())
    made.client.submissions._enlister = Unsteady
    return made


async def test_commit_that_is_never_seen_is_left_to_the_waker(harness, monkeypatch, caplog):
    monkeypatch.setattr(submission, "COMMIT_SECONDS", 0.01)
    monkeypatch.setattr(submission, "FOLLOWED_MAX", 1)
    made = unsteady(harness)

    with caplog.at_level("DEBUG", "holdfast"):
        with pytest.raises(InterruptedError):
            await made.client.submit("ship", "book", within=object())
        await eventually(lambda: "commit not seen" in caplog.text)
    await made.client.submissions.close()

    assert [record.message for record in caplog.records if "commit" in record.message] == [
        "commit not seen"
    ]
    assert made.announced.job_ids == []


async def test_store_that_does_not_answer_then_costs_the_announcement_only(harness, caplog):
    made = unsteady(harness)

    class Away:
        hints = harness.store.hints

        async def get_job(self, job_id: str) -> None:
            raise StoreUnavailableError("away")

    made.client.submissions._store = Away()  # type: ignore[assignment]

    with pytest.raises(InterruptedError):
        await made.client.submit("ship", "book", within=object())
    await eventually(lambda: "commit not followed" in caplog.text)
    await made.client.submissions.close()


async def test_closing_waits_for_no_commit(harness):
    made = unsteady(harness)

    with pytest.raises(InterruptedError):
        await made.client.submit("ship", "book", within=object())
    await asyncio.sleep(0)

    await made.client.submissions.close()

    assert made.announced.job_ids == []


async def test_client_that_takes_no_part_says_so(harness):
    with pytest.raises(ConfigError, match="takes no part in transactions of others"):
        await harness.client.submit("ship", "book", within=object())
