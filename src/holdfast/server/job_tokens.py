"""Tokens that let an end user see one job."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter

from holdfast.server.auth import ContentOwner, reach
from holdfast.server.problems import NOT_FOUND, ProblemRoute
from holdfast.server.schemas import TokenRequest, TokenView
from holdfast.server.service import Here
from holdfast.server.tokens import JOB_TOKEN_LIFETIME

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=ProblemRoute)


@router.post("/{job_id}/tokens", status_code=201, summary="Make a job's token", responses=NOT_FOUND)
async def make_token(
    job_id: str, here: Here, principal: ContentOwner, asked: TokenRequest | None = None
) -> TokenView:
    """Make a token that lets its holder see this one job, for an end user's browser."""
    await reach(here, principal, job_id)
    given = None if asked is None else asked.lifetime_seconds
    lifetime = JOB_TOKEN_LIFETIME if given is None else timedelta(seconds=given)
    token = here.tokens.for_job(job_id, lifetime)
    return TokenView(token=token, expires_at=here.clock.now() + lifetime)
