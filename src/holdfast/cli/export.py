"""All that is on record of a subject, as a ZIP archive; memory is bounded by one page of jobs."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

import msgspec

from holdfast.cli.files import replacing
from holdfast.cli.shapes import event_shape, export_shape
from holdfast.engine.subjects import jobs_of
from holdfast.errors import JobNotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path
    from typing import IO

    from holdfast.engine.client import JobClient
    from holdfast.model import Artifact, Event, Job


Entry = Callable[[str, "datetime"], "AbstractContextManager[IO[bytes]]"]
"""Gives what an entry of this name and date is to be written to."""


async def write_export(client: JobClient, subject: str, path: Path, *, files: bool) -> int:
    """Write a ZIP archive; see `add_jobs`.

    Returns:
        How many jobs there are.

    Raises:
        ArtifactError: The file cannot be written, or a file of a job not be read.
        SealedValueError: Something was sealed by a key that is not set here.
    """
    with replacing(path, private=True) as file, zipfile.ZipFile(file, "w") as archive:
        return await add_jobs(client, subject, partial(_entry, archive), files=files)


async def add_jobs(client: JobClient, subject: str, entry: Entry, *, files: bool) -> int:
    """Write `jobs/JOB_ID.json` for each job, and `files/JOB_ID/NAME` if `files` are wanted.

    Returns:
        How many jobs there are.

    Raises:
        ArtifactError, SealedValueError: See `write_export`.
    """
    count = 0
    async for found in jobs_of(client, subject):
        try:
            # Read by itself: a list shows what it cannot open as it is.
            await _add_job(entry, client, await client.get(found.job_id), files=files)
        except JobNotFoundError:
            continue
        count += 1
    return count


async def _add_job(entry: Entry, client: JobClient, job: Job, *, files: bool) -> None:
    records = await client.records(job.job_id)
    shape = export_shape(job, records)
    with entry(f"jobs/{job.job_id}.json", job.created_at) as file:
        # All but the closing brace, then the events one by one.
        file.write(msgspec.json.encode(shape, enc_hook=str)[:-1] + b',"events":[')
        await _write_events(file, client, job)
        file.write(b"]}\n")
    if files:
        for step in records.checkpoints:
            if step.artifact is not None:
                await _add_file(entry, client, job, step.artifact)


async def _write_events(file: IO[bytes], client: JobClient, job: Job) -> None:
    # Declared as an iterator, but a generator, which holds a subscription until closed.
    events = cast("AsyncGenerator[Event, None]", client.events(job.job_id))
    separator = b""
    try:
        async for event in events:
            file.write(separator + msgspec.json.encode(event_shape(event)))
            separator = b","
            if event.seq >= job.event_seq:
                # An unfinished job goes on: this is its state when it was read.
                break
    finally:
        await events.aclose()


async def _add_file(entry: Entry, client: JobClient, job: Job, artifact: Artifact) -> None:
    name = f"files/{job.job_id}/{name_in_archive(artifact.name, artifact.sha256)}"
    with entry(name, job.created_at) as file:
        async for chunk in client.stream_artifact(artifact):
            file.write(chunk)


def name_in_archive(name: str, otherwise: str) -> str:
    """Return a name that was made by a job as one that stays in the folder it is unpacked to."""
    parts = PurePosixPath(name.replace("\\", "_").replace(":", "_")).parts
    return "/".join(part for part in parts if part.strip("/") not in ("", "..")) or otherwise


def _entry(archive: zipfile.ZipFile, name: str, at: datetime) -> IO[bytes]:
    about = zipfile.ZipInfo(name, at.timetuple()[:6])
    about.compress_type = zipfile.ZIP_DEFLATED
    about.external_attr = 0o600 << 16
    return archive.open(about, "w", force_zip64=True)
