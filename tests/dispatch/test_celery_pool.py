"""The pool answers every message, whatever becomes of its job's claim."""

from typing import Any, cast

import pytest
from celery.exceptions import Ignore, Reject

from holdfast.dispatch.celery import celery_app, install
from holdfast.dispatch.celery_pool import AsyncioPool, JobHandle
from holdfast.dispatch.celery_task import named_job
from holdfast.ids import child_id, derived_id, new_id


class Runner:
    """Fails each claim as told."""

    def __init__(self, error):
        self.error = error

    async def offer(self, job_id):
        raise self.error


@pytest.mark.parametrize(
    ("error", "answer"), [(TimeoutError(), Reject), (ValueError("no text of the store's"), Ignore)]
)
async def test_message_whose_claim_fails_is_answered(error, answer):
    app = install(celery_app("redis://nowhere"), serve=lambda *_: None)
    pool = AsyncioPool(1, app=app)
    pool._runner, pool.connection = cast("Any", Runner(error)), object()
    answers: list[Any] = []

    await pool._run(JobHandle(pool, new_id("job"), answers.append, answers.append))
    pool._deliver()

    ((failed, told, _),) = answers
    assert failed
    assert told.type is answer


@pytest.mark.parametrize("arguments", [None, [], ["\0"], [5], [["x"]], ["job_1"], "job", {"job": 1}])
def test_arguments_that_name_no_job_are_known(arguments):
    assert named_job(arguments) is None


def test_ids_of_all_jobs_are_known():
    job_id = new_id("job")
    for each in (job_id, child_id(job_id, "key"), derived_id("job", "part")):
        assert named_job([each]) == each
