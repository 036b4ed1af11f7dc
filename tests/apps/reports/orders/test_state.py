"""What is told of an order while it is made."""

from dataclasses import replace

import pytest

from holdfast.apps.reports.orders.parts import Part, parts_of
from holdfast.apps.reports.orders.state import _progress_of
from holdfast.ids import child_id
from holdfast.model import Job, JobStatus, Progress
from tests.apps.reports.orders.conftest import job_of, ordered, paid


@pytest.fixture
async def parts(shop) -> list[Part]:
    order = await ordered(shop, "bundle")
    taken = await paid(shop, order)
    assert taken.order is not None
    assert taken.order.job_id == job_of(taken)
    return await parts_of(shop.client, taken.order)


async def test_progress_of_a_bundle_never_goes_back_when_another_report_begins(harness, shop, parts):
    template = await harness.client.get(await harness.submit("order", {"order_id": "ord_none"}))

    def made(part: Part, done: float, total: float, status: JobStatus) -> Part:
        job: Job = replace(
            template,
            job_id=child_id(template.job_id, part.product.kind),
            status=status,
            progress=Progress(done=done, total=total),
        )
        return replace(part, job=job)

    quick, *others = parts
    ready = made(quick, 4, 4, JobStatus.COMPLETED)
    waiting = [ready, *others]
    begun = [ready, *(made(each, 0, 161, JobStatus.RUNNING) for each in others)]

    before = (await _progress_of(shop, waiting)).fraction
    after = (await _progress_of(shop, begun)).fraction

    assert 0 < before <= after < 0.5
