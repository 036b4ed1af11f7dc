"""A worker beside the service, once the server begins to stop."""

from pathlib import Path

from holdfast import App
from holdfast.model import JobStatus
from holdfast.settings import Settings
from holdfast.testing.signals import Gate


async def test_worker_beside_the_service_takes_no_more_jobs_once_it_is_closing(tmp_path: Path):
    app, gate = App(Settings(home=tmp_path)), Gate()

    @app.job("work")
    async def work(job, word: str) -> str:
        await job.step("say", gate.through, word)
        return word

    async with app.service(with_worker=True) as service:
        client = service.client
        under_way = await client.submit("work", "first")
        await gate.reached.wait()
        service.closing.set()
        late = await client.submit("work", "late")
        gate.open()
        await client.result(under_way.job_id)
        queued = await client.get(late.job_id)

    assert queued.status is JobStatus.QUEUED
    assert gate.reached.values == ["first"]
