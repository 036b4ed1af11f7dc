"""A key that may only submit gets what the kind gives, and no more."""

from decimal import Decimal

import pytest

from holdfast import Budget, JobContext
from holdfast.server.access import Action


async def costly(job: JobContext, name: str) -> str:
    return name


@pytest.fixture
async def path(harness):
    harness.job("costly", costly, budget=Budget(usd="1.00"), priority=3)
    return "/api/v1/jobs"


def wanting(**more: object) -> dict[str, object]:
    return {"kind": "costly", "input": "ada", **more}


LARGE = [{"budget_usd": "1.01"}, {"budget_usd": None}, {"priority": 4}, {"queue": "express"}]
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


async def test_fork_may_not_outgrow_its_source(running, path, harness):
    job_id = await harness.submit("costly", "ada", budget=Budget(usd=Decimal("0.10")))
    async with running.http(await running.key(Action.SUBMIT)) as http:
        larger = await http.post(f"{path}/{job_id}/fork", json={"budget_usd": "0.11"})
        same = await http.post(f"{path}/{job_id}/fork", json={})

    assert (larger.status_code, same.status_code) == (403, 202)
