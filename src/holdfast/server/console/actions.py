"""What a page's buttons do with a job."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from holdfast.errors import InvalidInputError
from holdfast.model import Budget
from holdfast.server.auth import reach
from holdfast.server.console.forms import read_own_form
from holdfast.server.console.pages import PageRoute, base_of
from holdfast.server.console.viewing import Controlling, Forking
from holdfast.server.html import redirect
from holdfast.server.service import Service, service_of

router = APIRouter(prefix="/console/jobs/{job_id}", include_in_schema=False, route_class=PageRoute)

Here = Annotated[Service, Depends(service_of)]


@router.post("/cancel")
async def cancel(request: Request, job_id: str, here: Here, viewer: Controlling) -> Response:
    """Ask for the job's end."""
    await read_own_form(request, viewer)
    await reach(here, viewer.principal, job_id)
    await here.client.cancel(job_id)
    return _back(request, job_id, "cancel")


@router.post("/retry")
async def retry(request: Request, job_id: str, here: Here, viewer: Controlling) -> Response:
    """Run a failed or cancelled job again from where it ended."""
    await read_own_form(request, viewer)
    await reach(here, viewer.principal, job_id)
    await here.client.retry(job_id)
    return _back(request, job_id, "retry")


@router.post("/budget")
async def set_budget(request: Request, job_id: str, here: Here, viewer: Controlling) -> Response:
    """Replace the job's budget; an empty field is no limit."""
    form = await read_own_form(request, viewer)
    await reach(here, viewer.principal, job_id)
    await here.client.set_budget(job_id, budget_of(form.get("usd", ""), form.get("tokens", "")))
    return _back(request, job_id, "budget")


@router.post("/signal")
async def signal(request: Request, job_id: str, here: Here, viewer: Controlling) -> Response:
    """Send the job a signal."""
    form = await read_own_form(request, viewer)
    await reach(here, viewer.principal, job_id)
    name = form.get("name", "")
    if not name:
        raise InvalidInputError("a signal needs a name", hint="the one that the job waits for")
    await here.client.signal(job_id, name, _payload(form.get("payload", "")))
    return _back(request, job_id, "signal")


@router.post("/fork")
async def fork(request: Request, job_id: str, here: Here, viewer: Forking) -> Response:
    """Queue a copy of the job, with its finished steps or without."""
    form = await read_own_form(request, viewer)
    await reach(here, viewer.principal, job_id)
    copy = await here.client.fork(job_id, keep=None if form.get("keep") else [])
    return _back(request, copy.job_id, "fork")


def budget_of(usd: str, tokens: str) -> Budget:
    """Return the budget that two fields of a form describe.

    Raises:
        InvalidInputError: One of them is no such limit.
    """
    try:
        return Budget(
            usd=Decimal(usd.replace(",", "").removeprefix("$")) if usd else None,
            tokens=int(tokens.replace(",", "")) if tokens else None,
        )
    except (InvalidOperation, ValueError):
        raise InvalidInputError(
            f"a budget of {usd[:40]!r} US dollars and {tokens[:40]!r} tokens is none",
            hint="give numbers, such as 2.50 and 100000, or leave a field empty for no limit",
        ) from None


def _payload(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        raise InvalidInputError(
            "the payload of a signal is no JSON", hint='such as {"approved": true} or "yes"'
        ) from None


def _back(request: Request, job_id: str, done: str) -> Response:
    return redirect(f"{base_of(request)}/jobs/{job_id}?done={done}")
