"""Files on their way to a browser: safe to open, in parts if asked for, never in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header
from starlette.responses import Response, StreamingResponse

from holdfast.artifacts.signing import disposition
from holdfast.model import Artifact
from holdfast.server.conditional import UnsatisfiableRangeError, matches, range_of
from holdfast.server.problems import problem
from holdfast.server.service import Service

_SHOWN = frozenset(
    {"application/pdf", "image/avif", "image/gif", "image/jpeg", "image/png", "image/webp", "text/plain"}
)
"""What a browser may show in place; everything else it saves."""

_ACTIVE = re.compile(r"html|xml|svg|script|css|wasm|shockwave|multipart", re.IGNORECASE)
"""What could run, or say what else to load: it goes out as mere bytes."""

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a client says of a file that it has, or of the part that it wants; headers of RFC 9110."""

    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None


async def _conditions(
    range: Annotated[str | None, Header(description="Such as `bytes=0-1023`.")] = None,
    if_range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Conditions:
    return Conditions(range=range, if_range=if_range, if_none_match=if_none_match)


Asked = Annotated[Conditions, Depends(_conditions)]
"""The conditions of a request, as a parameter of a route."""


async def send_artifact(here: Service, artifact: Artifact, conditions: Conditions) -> Response:
    """Return an answer with the file, or as much of it as is asked for.

    Raises:
        ArtifactError: It cannot be read.
    """
    etag = f'"{artifact.sha256}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
    if matches(conditions.if_none_match, etag):
        return Response(status_code=304, headers=headers)
    whole = conditions.if_range not in {None, etag}
    try:
        part = None if whole else range_of(conditions.range, artifact.size_bytes)
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
