"""A service on a harness of its own, with job kinds to play with."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from pydantic import BaseModel

from holdfast import JobContext
from holdfast.apps.reports.shop.routers import shop_routers
from holdfast.testing.harness import Harness
from holdfast.testing.service import RunningService, running_service
from tests.server.shop import shop_resources


class Topic(BaseModel):
    """What a report is about."""

    title: str
    pages: int = 1


async def greet(job: JobContext, name: str) -> str:
    return await job.step("greet", str.upper, name)


async def report(job: JobContext, topic: Topic) -> list[str]:
    """Save one file, wait for an approval, and give what came with it."""
    await job.save_artifact(f"{topic.title}.txt", b"tides come and go\n" * topic.pages)
    approval = await job.wait_for("approval")
    return [topic.title, str(approval)]


@pytest.fixture
async def harness(tmp_path) -> AsyncIterator[Harness]:
    async with Harness(tmp_path) as harness:
        harness.job("greet", greet)
        harness.job("report", report)
        yield harness


@pytest.fixture
async def running(harness) -> AsyncIterator[RunningService]:
    """Keys are asked for; no worker runs unless the test starts one."""
    shop = shop_resources(harness)
    async with running_service(harness, routers=shop_routers(), resources=shop) as running:
        yield running


@pytest.fixture
async def http(running) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with a key that may do everything."""
    async with running.http(await running.key()) as http:
        yield http
