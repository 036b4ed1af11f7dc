"""A key that may only submit gets what the kind gives, and no more."""

from decimal import Decimal

import pytest

from holdfast import Budget, Concurrency, JobContext
from holdfast.server.access import Action


async def costly(job: JobContext, name: str) -> str:
    return name


@pytest.fixture
async def path(harness):
    harness.job(
        "costly", costly, budget=Budget(usd="1.00"), priority=3, concurrency=Concurrency(limit=5)
    )
    return "/api/v1/jobs"


def wanting(**more: object) -> dict[str, object]:
    return {"kind": "costly", "input": "ada", **more}


LARGE = [
    {"budget_usd": "1.01"},
    {"budget_usd": None},
    {"priority": 4},
    {"queue": "express"},
    {"concurrency_key": "mine"},
]
SMALL = [{"budget_usd": "0.50"}, {"budget_tokens": 100}, {"priority": 2}, {"queue": "costly"}, {}]


@pytest.mark.parametrize("more", LARGE)
async def test_more_than_the_kind_gives_needs_control(running, path, more):
    async with running.http(await running.key(Action.SUBMIT)) as http:
        refused = await http.post(path, json=wanting(**more))
    async with running.http(await running.key(Action.SUBMIT, Action.CONTROL)) as http:
        taken = await http.post(path, json=wanting(**more))

    assert (refused.status_code, refused.json()["code"]) == (403, "access_denied")
    assert "control, for" in refused.json()["detail"]
    assert taken.status_code == 202


@pytest.mark.parametrize("more", SMALL)
async def test_less_than_the_kind_gives_is_anybodys(running, path, more):
    async with running.http(await running.key(Action.SUBMIT)) as http:
        assert (await http.post(path, json=wanting(**more))).status_code == 202


async def test_fork_gets_no_more_than_the_kind_gives_either(running, path, harness):
    """What an operator has allowed one job is not allowed its copies."""
    small = await harness.submit("costly", "ada", budget=Budget(usd=Decimal("0.10")))
    raised = await harness.submit("costly", "ada", budget=Budget(usd=Decimal(1000)))
    ahead = await harness.submit("costly", "ada", priority=9)
    async with running.http(await running.key(Action.SUBMIT)) as http:

        async def fork(job_id: str, **more: object) -> int:
            answer = await http.post(f"{path}/{job_id}/fork", json=more)
            status: int = answer.status_code
            return status

        assert [await fork(small), await fork(small, budget_usd="0.11")] == [202, 202]
        assert await fork(small, budget_usd="1.01") == 403
        assert [await fork(raised), await fork(raised, budget_usd="1.00")] == [403, 202]
        assert await fork(ahead) == 403
