"""Probes: is this process alive, and is it of use?"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse

from holdfast.server import examples
from holdfast.server.checks import Check, Finding, Verdict
from holdfast.server.problems import ProblemRoute
from holdfast.server.service import Service, service_of

router = APIRouter(prefix="/health", tags=["operations"], route_class=ProblemRoute)

Here = Annotated[Service, Depends(service_of)]


class LiveView(BaseModel):
    """Whether a restart would help."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.LIVE]})

    status: Literal["alive", "stuck"]
    troubles: list[str]


class CheckView(BaseModel):
    """What one check found."""

    status: Verdict
    told: str


class ReadyView(BaseModel):
    """Whether requests should come here, and what stands against it."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.READY]})

    status: Literal["ready", "failing", "stopping"]
    checks: dict[str, CheckView]


@router.get("/live", response_model=LiveView, responses={503: {"model": LiveView}})
async def tell_live(here: Here) -> JSONResponse:
    """Tell whether this process works; 503 for what only a restart cures.

    One whose event loop is stuck does not answer at all: give the probe a time limit.
    """
    troubles = list(here.troubles())
    view = LiveView(status="stuck" if troubles else "alive", troubles=troubles)
    return _answer(view, well=not troubles)


@router.get("/ready", response_model=ReadyView, responses={503: {"model": ReadyView}})
async def tell_ready(
    here: Here, exclude: Annotated[list[str] | None, Query(max_length=10)] = None
) -> JSONResponse:
    """Tell whether requests should come here; 503 with what is wrong, and at once when it stops.

    `?exclude=broker` leaves a check out, as Kubernetes' own probes do.
    """
    if here.closing.is_set():
        return _answer(ReadyView(status="stopping", checks={}), well=False)
    wanted = {name: check for name, check in checks_of(here).items() if name not in (exclude or ())}
    found = await here.checks.run(wanted, here.clock)
    well = all(one.verdict != "failing" for one in found.values())
    checks = {name: CheckView(status=one.verdict, told=one.told) for name, one in found.items()}
    return _answer(ReadyView(status="ready" if well else "failing", checks=checks), well=well)


def _answer(view: LiveView | ReadyView, *, well: bool) -> JSONResponse:
    body: dict[str, Any] = view.model_dump()
    return JSONResponse(body, 200 if well else 503, headers={"Cache-Control": "no-store"})


def checks_of(service: Service) -> dict[str, Check]:
    """Return what has to answer for this service to be of use."""
    found = {
        "store": Check(functools.partial(_store, service)),
        # Writes, reads and deletes an object, which costs money where it is metered.
        "artifacts": Check(functools.partial(_artifacts, service), 30.0),
        "workers": Check(functools.partial(_workers, service)),
    }
    if service.reach_broker is not None:
        # A connection of its own each time.
        found["broker"] = Check(functools.partial(_broker, service.reach_broker), 5.0)
    return found


async def _store(service: Service) -> Finding:
    # The smallest question there is: it goes through the same connections as all others.
    await service.records.find_positions(("job_00000000000000000000000000",))
    return Finding()


async def _artifacts(service: Service) -> Finding:
    await service.client.artifact_store.check()
    return Finding()


async def _broker(reach: Callable[[], None]) -> Finding:
    await asyncio.to_thread(reach)
    return Finding()


async def _workers(service: Service) -> Finding:
    """Silent workers take nothing from what this service does, but whoever is asked should say so."""
    silent = len((await service.fleet.look(service.records, service.clock)).silent_queues)
    if silent:
        return Finding("warning", f"jobs wait in {silent} queue(s) that no worker alive serves")
    return Finding()
