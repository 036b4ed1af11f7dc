"""Jobs over HTTP: submit, look, steer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from holdfast.server.auth import Reader, reach
from holdfast.server.problems import ProblemRoute
from holdfast.server.schemas import JobView, view_of
from holdfast.server.service import Service, service_of

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=ProblemRoute)

Here = Annotated[Service, Depends(service_of)]


@router.get("/{job_id}")
async def get_job(job_id: str, here: Here, principal: Reader) -> JobView:
    """Return a job: status, progress, usage; input and output only to who may see content."""
    await reach(here, principal, job_id)
    return view_of(await here.client.get(job_id, with_children=True), principal)
