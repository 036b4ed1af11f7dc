"""Lists of jobs: what they hold, and which indexes give them."""

import itertools
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from holdfast.ids import first_id
from holdfast.model import JobStatus
from holdfast.store.base import JobQuery
from holdfast.store.listing import LOOKS_MAX, list_jobs, statement_of

KINDS = ("essay", "photo", "report", "holdfast.webhook")
TENANTS = ("acme", "zoo", None)
MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
MANY_KINDS = tuple(f"kind-{number}" for number in range(LOOKS_MAX))


@pytest.fixture
def filled(template):
    """Jobs of every sort, in a database of the test's own."""
    chance = random.Random(4)
    with closing(sqlite3.connect(template)) as source, closing(sqlite3.connect(":memory:")) as found:
        source.backup(found)
        found.executemany(
            "INSERT INTO jobs (job_id, kind, queue, status, priority, tenant, created_at)"
            " VALUES (?, ?, 'q', ?, 0, ?, 0)",
            [
                (
                    f"{first_id('job', MOMENT)[:-4]}{number:04}",
                    chance.choice(KINDS),
                    chance.choice(list(JobStatus)),
                    chance.choice(TENANTS),
                )
                for number in chance.sample(range(300), 300)
            ],
        )
        found.execute("INSERT INTO payloads (job, input) SELECT id, x'31' FROM jobs")
        yield found


def fits(query: JobQuery, job) -> bool:
    return (
        (query.kind == job.kind or (query.kind is None and not job.kind.startswith("holdfast.")))
        and (query.kinds is None or job.kind in query.kinds)
        and query.tenant in (None, job.tenant)
        and query.status in (None, job.status)
        and (query.before is None or job.job_id < query.before)
    )


def test_lists_hold_the_newest_jobs_that_fit_whatever_is_asked_for(filled):
    every = [job for kind in KINDS for job in list_jobs(filled, JobQuery(kind=kind, limit=1_000))]
    every.sort(key=lambda job: job.job_id, reverse=True)
    assert len(every) == 300
    asked = itertools.product(
        (None, "report", "holdfast.webhook"),
        (None, ("essay", "report"), ("photo",), ("report", *MANY_KINDS), ()),
        (None, "acme", "nobody"),
        (None, JobStatus.FAILED, JobStatus.COMPLETED),
        (None, every[150].job_id),
    )

    for kind, kinds, tenant, status, before in asked:
        query = JobQuery(kind=kind, kinds=kinds, tenant=tenant, status=status, before=before, limit=20)
        wanted = [job.job_id for job in every if fits(query, job)][:20]
        assert [job.job_id for job in list_jobs(filled, query)] == wanted, query


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({}, "sqlite_autoindex_jobs_1"),
        ({"status": JobStatus.FAILED}, "jobs_status"),
        ({"kind": "report"}, "jobs_kind_status"),
        ({"kind": "report", "status": JobStatus.FAILED}, "jobs_kind_status"),
        ({"kinds": ("essay", "report")}, "jobs_kind_status"),
        ({"kinds": ("essay", "report"), "status": JobStatus.FAILED}, "jobs_kind_status"),
        ({"tenant": "acme"}, "jobs_tenant_status"),
        ({"tenant": "acme", "status": JobStatus.FAILED}, "jobs_tenant_status"),
        ({"tenant": "acme", "kinds": ("essay", "report")}, "jobs_tenant_status"),
        ({"kinds": MANY_KINDS}, "sqlite_autoindex_jobs_1"),
        ({"subject": "u_1", "status": JobStatus.FAILED}, "jobs_subject"),
        ({"parent_id": "job_1", "tenant": "acme"}, "jobs_parent"),
    ],
)
def test_list_walks_along_an_index(filled, asked, index):
    """It reads jobs of that sort from the newest on, and none is sorted but those of one page a look."""
    sql, arguments = statement_of(JobQuery(before="job_9", **asked))

    plan = [row[3] for row in filled.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)]

    reads = [step for step in plan if " jobs " in step or step.endswith(" jobs")]
    found = [step for step in reads if f" {index} " in step]
    assert found
    others = [step for step in reads if step not in found]
    assert all("(job_id=?)" in step or " parents " in step for step in others), plan
