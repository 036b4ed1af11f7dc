"""Jobs of a whole application that keeps its artifacts in a bucket."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast import App, JobContext
from holdfast.errors import ConfigError
from holdfast.settings import Settings

BOOK = os.urandom(9 * 1024**2)
LONG = "a paid answer " * 50_000
"""Too long for the store: kept in artifact storage like a file."""


def application(tmp_path, s3_server, url) -> App:
    settings = Settings(
        home=tmp_path / "home",
        artifacts=url,
        s3_endpoint=s3_server.url,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        provider="scripted",
    )
    app = App(settings)

    async def answer() -> str:
        return LONG

    @app.job("book")
    async def book(job: JobContext, folder: str) -> int:
        text = await job.step("answer", answer)
        path = Path(folder) / "book.pdf"
        path.write_bytes(BOOK)
        await job.save_artifact("book.pdf", path)
        await job.save_artifact("note.txt", b"short")
        return len(text)

    return app


async def test_job_keeps_files_and_long_results_in_the_bucket(tmp_path, s3_server, s3_lab):
    app = application(tmp_path, s3_server, s3_lab.url)

    async with app.worker() as client:
        job = await client.submit("book", str(tmp_path))
        assert await client.result(job.job_id) == len(LONG)
        saved = {found.name: found for found in await client.artifacts(job.job_id)}
        book = saved["book.pdf"]
        streamed = b"".join([chunk async for chunk in client.stream_artifact(book)])
        url = await client.artifact_store.link(
            book.sha256, expires=timedelta(hours=1), filename=book.name, media_type=book.media_type
        )
    content, headers = await s3_lab.download(url)

    assert streamed == content == BOOK
    assert headers["content-disposition"].startswith('attachment; filename="book.pdf"')
    assert len(s3_lab.names()) == 3
    assert not (tmp_path / "home" / "artifacts").exists()


async def test_worker_does_not_start_with_a_bucket_that_is_not_there(tmp_path, s3_server):
    app = application(tmp_path, s3_server, "s3://no-such-bucket")

    with pytest.raises(ConfigError, match="NoSuchBucket"):
        async with app.worker():
            pytest.fail("a worker that can store nothing has started")
