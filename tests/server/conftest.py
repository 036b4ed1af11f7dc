"""A service on a harness of its own, with one job kind to play with."""

from collections.abc import AsyncIterator

import pytest

from holdfast import JobContext
from holdfast.testing.harness import Harness
from holdfast.testing.service import RunningService, running_service


async def greet(job: JobContext, name: str) -> str:
    return await job.step("greet", str.upper, name)


@pytest.fixture
async def harness(tmp_path) -> AsyncIterator[Harness]:
    async with Harness(tmp_path) as harness:
        harness.job("greet", greet)
        yield harness


@pytest.fixture
async def running(harness) -> AsyncIterator[RunningService]:
    """Keys are asked for; no worker runs unless the test starts one."""
    async with running_service(harness) as running:
        yield running
