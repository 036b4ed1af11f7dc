"""Between choosing jobs and deleting them, other processes go on changing them."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from holdfast.model import JobStatus
from holdfast.store import pruning
from holdfast.store.base import PruneRequest
from holdfast.store.postgres_store import PostgresStore
from holdfast.testing.store_suite.support import finish, settle, start, worker

pytestmark = [pytest.mark.requires("initdb", "postgres"), pytest.mark.timeout(60)]

RETRY = "UPDATE jobs SET status = 'queued', finished_at = NULL WHERE job_id = %s"
DELETE = "DELETE FROM jobs WHERE job_id = %s"


@pytest.fixture
async def store(postgres_server):
    store = PostgresStore(postgres_server.create_database("pruning"))
    await store.open()
    await asyncio.to_thread(store.beat, worker("w1", lease_seconds=600.0), first=True)
    yield store
    await store.close()
    postgres_server.drop_database("pruning")


@pytest.fixture
def meanwhile(store, monkeypatch):
    """Have another process run a statement on a job once the jobs to delete are chosen."""

    def run(statement: str, job_id: str) -> None:
        choose = pruning._choose

        def choose_and_run(tx, request):
            chosen = choose(tx, request)
            with psycopg.connect(store.place.url, autocommit=True) as other:
                other.execute(statement, (job_id,))
            return chosen

        monkeypatch.setattr(pruning, "_choose", choose_and_run)

    return run


async def pruned(store, **changes) -> set[str]:
    return set((await store.prune_jobs(PruneRequest(**changes))).job_ids)


@pytest.mark.parametrize("statement", [RETRY, DELETE])
async def test_job_that_was_retried_or_deleted_meanwhile_is_left_alone(store, meanwhile, statement):
    first, second = await start(store), await start(store)
    for lease in (first, second):
        await settle(store, lease, JobStatus.FAILED)
    meanwhile(statement, first.job_id)

    assert await pruned(store, older_than=timedelta()) == {second.job_id}


async def test_parent_whose_child_was_retried_meanwhile_stays(store, meanwhile):
    parent = await start(store)
    child = await start(store, parent=parent)
    await settle(store, child, JobStatus.FAILED)
    await finish(store, parent)
    meanwhile(RETRY, child.job_id)

    assert await pruned(store, older_than=timedelta()) == set()
    assert (await store.get_job(parent.job_id)).status is JobStatus.COMPLETED


async def test_subjects_child_whose_parent_was_retried_meanwhile_stays(store, meanwhile):
    parent = await start(store)
    child = await start(store, parent=parent, subject="u_1")
    await finish(store, child)
    await settle(store, parent, JobStatus.FAILED)
    meanwhile(RETRY, parent.job_id)

    assert await pruned(store, subject="u_1") == set()
    assert (await store.get_job(child.job_id)).status is JobStatus.COMPLETED
