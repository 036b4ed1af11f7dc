"""Signing in with an API key, and out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from holdfast.server.access import key_id_of, principal_of
from holdfast.server.auth import SESSION_COOKIE, session_of
from holdfast.server.console.forms import read_own_form
from holdfast.server.console.pages import PageRoute, base_of, render
from holdfast.server.console.viewing import Anyone, find_viewer
from holdfast.server.forms import read_form
from holdfast.server.html import redirect
from holdfast.server.service import Service, service_of

if TYPE_CHECKING:
    from holdfast.store.service import ApiKey

SESSION_LIFETIME = timedelta(hours=12)

router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)

Here = Annotated[Service, Depends(service_of)]


@router.get("/sign-in")
async def show_sign_in(request: Request, next: str = "") -> Response:
    """Ask for a key; whoever is known already goes on."""
    if await find_viewer(request) is not None:
        return redirect(_local(next, base_of(request)))
    return render(request, "sign_in.html", None, next=next, problem="")


@router.post("/sign-in")
async def sign_in(request: Request, here: Here) -> Response:
    """Begin a session for whoever has a key that is good."""
    form, now = await read_form(request), here.clock.now()
    address = request.client.host if request.client else ""
    after = form.get("next", "")
    wait = here.sign_ins.wait(address, now)
    if wait:
        problem = f"Too many tries. Wait {wait.total_seconds():.0f} seconds and try again."
        return render(request, "sign_in.html", None, status=429, next=after, problem=problem)
    key = await _find_key(here, form.get("key", ""))
    if key is None:
        here.sign_ins.add(address, now)
        problem = "This key is unknown, expired or revoked."
        return render(request, "sign_in.html", None, status=403, next=after, problem=problem)
    base = base_of(request)
    answer = redirect(_local(after, base))
    answer.set_cookie(
        SESSION_COOKIE,
        session_of(here, key, SESSION_LIFETIME),
        max_age=int(SESSION_LIFETIME.total_seconds()),
        path=base.removesuffix("/console") or "/",
        secure=_is_secure(request),
        httponly=True,
        samesite="strict",
    )
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, viewer: Anyone) -> Response:
    """End the session in this browser."""
    await read_own_form(request, viewer)
    base = base_of(request)
    answer = redirect(f"{base}/sign-in")
    answer.delete_cookie(
        SESSION_COOKIE,
        path=base.removesuffix("/console") or "/",
        secure=_is_secure(request),
        httponly=True,
        samesite="strict",
    )
    return answer


async def _find_key(here: Service, given: str) -> ApiKey | None:
    key_id = key_id_of(given)
    if key_id is None:
        return None
    found = await here.records.find_key(key_id)
    return found if principal_of(given, found, here.clock.now()) is not None else None


def _is_secure(request: Request) -> bool:
    """Whether the browser speaks https, perhaps to a proxy before us."""
    public = urlsplit(service_of(request).options.public_url)
    return request.url.scheme == "https" or (
        public.scheme == "https" and public.netloc == request.headers.get("host")
    )


def _local(path: str, base: str) -> str:
    """Return where to go after signing in: a page of this console, whatever was asked for."""
    within = path.startswith(f"{base}/") and not {"\\", "\n", "\r"} & set(path) and ".." not in path
    return path if within else f"{base}/jobs"
