"""The files that jobs have saved: safe to open in a browser, in parts if asked for, never in memory."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response

from holdfast.errors import ArtifactNotFoundError
from holdfast.server import examples
from holdfast.server.auth import ContentReader, reach
from holdfast.server.downloads import Asked, send_artifact
from holdfast.server.problems import NOT_FOUND, Problem, ProblemRoute
from holdfast.server.schemas import ArtifactView, artifact_view
from holdfast.server.service import Here

router = APIRouter(prefix="/jobs", tags=["artifacts"], route_class=ProblemRoute)

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
    conditions: Asked,
) -> Response:
    """Return the file's bytes; a browser shows it only if it is a PDF, a picture or plain text."""
    await reach(here, principal, job_id)
    # PostgreSQL knows no NUL, not even to say that it is not there.
    artifact = None if "\0" in name else await here.records.find_artifact(job_id, name)
    if artifact is None:
        raise ArtifactNotFoundError(job_id=job_id, name=name)
    return await send_artifact(here, artifact, conditions)
