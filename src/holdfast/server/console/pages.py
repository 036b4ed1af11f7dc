"""How pages are made and sent: templates, headers, and errors as pages."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2
from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse

from holdfast.errors import HoldfastError
from holdfast.server.console import filters
from holdfast.server.console.static import static_files
from holdfast.server.console.viewing import SignInNeeded, find_viewer
from holdfast.server.problems import WITHHELD, log_unexpected, status_of
from holdfast.server.service import service_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from holdfast.server.console.viewing import Viewer
    from holdfast.server.sections import Section

logger = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Browsers tell no-referrer pages' forms to come from nowhere, and those are refused.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every page: nothing from elsewhere, nothing inline, in nobody's frame, in nobody's cache."""


@cache
def environment(package: str | None = None) -> jinja2.Environment:
    """Return what renders the templates: everything is escaped, a name that is missing is an error.

    Args:
        package: Of a section, whose templates are found behind the console's own.
    """
    loaders = [jinja2.PackageLoader("holdfast.server.console")]
    if package is not None:
        loaders.append(jinja2.PackageLoader(package, "console_templates"))
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(filters.FILTERS)
    return made


def base_of(request: Request) -> str:
    """Return the path that the console lies at, such as `/console`, wherever it is mounted."""
    # From the address: within mounted applications routes are looked up by name in the outer one only,
    # and a route does not know the prefix that its router was included under.
    asked, own = request.scope["path"].split("/"), request.scope["route"].path.split("/")
    return "/".join(asked[: len(asked) - len(own) + 2])


def render(
    request: Request,
    template: str,
    viewer: Viewer | None,
    *,
    section: Section | None = None,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """Return a page made from a template, of the console's own or of a section's."""
    service, base = service_of(request), base_of(request)
    page = environment(section.package if section else None).get_template(template)
    text = page.render(
        base=base,
        api=base.removesuffix("/console") + "/api/v1",
        errors=base.removesuffix("/console") + "/errors",
        static={name: f"{base}/static/{name}?v={file.version}" for name, file in static_files().items()},
        viewer=viewer,
        sections=_sections_of(request, viewer),
        form_token=viewer.form_token(service) if viewer else "",
        now=service.clock.now(),
        here=request.url.path,
        **values,
    )
    return HTMLResponse(text, status, headers=HEADERS)


def _sections_of(request: Request, viewer: Viewer | None) -> list[Section]:
    """Return the sections that exist for a viewer, for the navigation."""
    known: Sequence[Section] = request.state.holdfast_sections
    return [each for each in known if viewer and viewer.enters(service_of(request), each)]


def redirect(url: str) -> RedirectResponse:
    """Send the browser on to another page by GET."""
    return RedirectResponse(url, 303, headers=HEADERS)


class PageRoute(APIRoute):
    """A route that tells its errors as pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except SignInNeeded:
                return _to_sign_in(request)
            except Exception as error:  # noqa: BLE001 - the last stop: nothing else would tell the person
                return await _told(request, error)

        return handled


class SectionRouter(APIRouter):
    """The routes of a section; where the service has them, its navigation leads there."""

    def __init__(self, section: Section) -> None:
        super().__init__(
            prefix=f"/console/{section.path}", include_in_schema=False, route_class=PageRoute
        )
        self.section = section


def _to_sign_in(request: Request) -> Response:
    if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
        # A link from elsewhere: the browser sends the session's cookie once a page of our own asks.
        return render(request, "arrival.html", None)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    after = f"?next={quote(here)}" if request.method == "GET" else ""
    return redirect(f"{base_of(request)}/sign-in{after}")


async def _told(request: Request, error: Exception) -> Response:
    if isinstance(error, HoldfastError):
        status, code, message, hint = status_of(error), error.code, error.message, error.hint
    elif isinstance(error, RequestValidationError):
        status, code, message, hint = 422, "invalid_input", "This address asks for nothing we know.", ""
    elif isinstance(error, HTTPException):
        status, code, message, hint = error.status_code, "request", str(error.detail), ""
    else:
        log_unexpected(error)
        status, code, message, hint = 500, "internal", "Something went wrong; it is in the log.", ""
    if status >= 500 and isinstance(error, HoldfastError):
        logger.error("page failed", extra={"error": error.code, "told": error.message})
        message, hint = WITHHELD, ""
    try:
        viewer = await find_viewer(request)
    except HoldfastError:
        # The store does not answer: say so without knowing to whom.
        viewer = None
    # A button's address is that of its page, and one word more.
    back = (
        request.url.path.rpartition("/")[0] if request.method == "POST" else f"{base_of(request)}/jobs"
    )
    return render(
        request,
        "error.html",
        viewer,
        status=status,
        code=code,
        message=message,
        hint=hint or "",
        back=back,
    )
