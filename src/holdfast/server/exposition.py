"""Metrics of this process and of the whole fleet, for Prometheus."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from holdfast.errors import StoreError
from holdfast.metrics import exposition
from holdfast.server import examples
from holdfast.server.auth import Admin
from holdfast.server.fleet import measure_fleet
from holdfast.server.problems import ProblemRoute
from holdfast.server.service import Service, service_of

logger = logging.getLogger(__name__)

router = APIRouter(tags=["operations"], route_class=ProblemRoute)


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": examples.METRICS}}}
}


@router.get("/metrics", response_class=Response, responses=_ANSWERS)
async def get_metrics(here: Annotated[Service, Depends(service_of)], _: Admin) -> Response:
    """Return all metrics in Prometheus' text format; the fleet's are at most a few seconds old."""
    try:
        fleet = await here.fleet.look(here.records, here.clock)
    except (StoreError, TimeoutError) as error:
        logger.warning("fleet not measured", extra={"error": getattr(error, "code", "timeout")})
        fleet = None
    measure_fleet(fleet)
    text, media_type = await asyncio.to_thread(exposition)
    return Response(text, headers={"Content-Type": media_type})
