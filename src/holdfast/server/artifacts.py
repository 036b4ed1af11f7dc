"""The files that jobs have saved: safe to open in a browser, in parts if asked for, never in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response, StreamingResponse

from holdfast.artifacts.signing import disposition
from holdfast.errors import ArtifactNotFoundError
from holdfast.model import Artifact
from holdfast.server import examples
from holdfast.server.auth import ContentReader, reach
from holdfast.server.conditional import UnsatisfiableRangeError, matches, range_of
from holdfast.server.problems import NOT_FOUND, Problem, ProblemRoute, problem
from holdfast.server.schemas import ArtifactView, artifact_view
from holdfast.server.service import Here, Service

router = APIRouter(prefix="/jobs", tags=["artifacts"], route_class=ProblemRoute)

_SHOWN = frozenset(
    {"application/pdf", "image/avif", "image/gif", "image/jpeg", "image/png", "image/webp", "text/plain"}
)
"""What a browser may show in place; everything else it saves."""

_ACTIVE = re.compile(r"html|xml|svg|script|css|wasm|shockwave|multipart", re.IGNORECASE)
"""What could run, or say what else to load: it goes out as mere bytes."""

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_BYTES = "application/octet-stream"
_FILE_SCHEMA = {"schema": {"type": "string", "format": "binary"}, "example": "%PDF-1.7 …"}


class _Anything(Convertor[str]):
    """The rest of a path, whatever characters it has; Starlette's own stops at a line break."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", _Anything())


class ArtifactList(BaseModel):
    """The files that a job has saved so far."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"artifacts": [examples.ARTIFACT]}]})

    artifacts: list[ArtifactView]


@router.get("/{job_id}/artifacts", summary="List a job's artifacts", responses=NOT_FOUND)
async def list_artifacts(job_id: str, here: Here, principal: ContentReader) -> ArtifactList:
    """Return the files that the job has saved so far, oldest first."""
    await reach(here, principal, job_id)
    found = await here.records.list_artifacts(job_id)
    return ArtifactList(artifacts=[artifact_view(artifact) for artifact in found])


@router.get(
    "/{job_id}/artifacts/{name:anything}",
    summary="Get an artifact",
    response_class=Response,
    responses={
        200: {"description": "The whole file.", "content": {_BYTES: _FILE_SCHEMA}},
        206: {"description": "The part that `Range` asks for.", "content": {_BYTES: _FILE_SCHEMA}},
        304: {"description": "It is as `If-None-Match` knows it."},
        416: {"model": Problem, "description": "The file has no such part."},
        **NOT_FOUND,
    },
)
async def get_artifact(
    *,
    job_id: str,
    name: str,
    here: Here,
    principal: ContentReader,
    range: Annotated[str | None, Header(description="Such as `bytes=0-1023`.")] = None,
    if_range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return the file's bytes; a browser shows it only if it is a PDF, a picture or plain text."""
    await reach(here, principal, job_id)
    # PostgreSQL knows no NUL, not even to say that it is not there.
    artifact = None if "\0" in name else await here.records.find_artifact(job_id, name)
    if artifact is None:
        raise ArtifactNotFoundError(job_id=job_id, name=name)
    etag = f'"{artifact.sha256}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
    if matches(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    try:
        part = range_of(range, artifact.size_bytes) if if_range in {None, etag} else None
    except UnsatisfiableRangeError:
        return _no_such_part(artifact)
    return await _sent(here, artifact, part, headers | _looks(artifact))


async def _sent(
    here: Service, artifact: Artifact, part: tuple[int, int] | None, headers: dict[str, str]
) -> Response:
    store, size = here.client.artifact_store, artifact.size_bytes
    if part is None:
        chunks = store.stream(artifact.sha256)
        headers["Content-Length"] = str(size)
    else:
        start, end = part
        chunks = store.stream_range(artifact.sha256, start, end)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        headers["Content-Length"] = str(end - start)
    # The first chunk before the first header: what cannot be read is told as a problem.
    first = await anext(chunks, b"")
    return StreamingResponse(_rest(first, chunks), 200 if part is None else 206, headers=headers)


async def _rest(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


def _looks(artifact: Artifact) -> dict[str, str]:
    """Return what a browser is to make of the file, which a job wrote and nobody has looked at."""
    media_type = artifact.media_type.partition(";")[0].strip().lower()
    if _MEDIA_TYPE.fullmatch(media_type) is None or _ACTIVE.search(media_type):
        media_type = _BYTES
    shown = media_type in _SHOWN
    name = artifact.name.rstrip("/").rpartition("/")[2]
    headers = {
        "Content-Type": f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type,
        "Content-Disposition": disposition("inline" if shown else "attachment", name),
        "X-Content-Type-Options": "nosniff",
    }
    # Chromium's own viewer of PDFs needs styles and frames; nothing else may do anything at all.
    policy = "frame-ancestors 'none'"
    if media_type != "application/pdf":
        policy = f"default-src 'none'; sandbox; {policy}"
    return headers | {"Content-Security-Policy": policy}


def _no_such_part(artifact: Artifact) -> Response:
    size = artifact.size_bytes
    detail = f"artifact {artifact.name!r} has {size:,} bytes and no such part"
    headers = {"Content-Range": f"bytes */{size}"}
    return problem(416, "request", detail, hint="ask for bytes that are there", headers=headers)
