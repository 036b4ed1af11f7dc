"""How pages are made and sent: templates, headers, and errors as pages."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.responses import HTMLResponse

from holdfast.errors import HoldfastError
from holdfast.server.console import filters
from holdfast.server.console.viewing import SignInNeeded, find_viewer
from holdfast.server.html import HEADERS, failure_of, prefix_of, redirect, templates_of
from holdfast.server.service import service_of
from holdfast.server.static_files import static_urls

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from holdfast.server.console.viewing import Viewer
    from holdfast.server.sections import Section

PACKAGE = "holdfast.server.console"


@cache
def environment(package: str | None = None) -> jinja2.Environment:
    """Return what renders the templates: everything is escaped, a name that is missing is an error.

    Args:
        package: Of a section, whose templates are found behind the console's own.
    """
    made = templates_of(PACKAGE)
    if package is not None:
        folders = ((PACKAGE, "templates"), (package, "console_templates"))
        made.loader = jinja2.ChoiceLoader([jinja2.PackageLoader(*folder) for folder in folders])
    made.filters.update(filters.FILTERS)
    return made


def base_of(request: Request) -> str:
    """Return the path that the console lies at, such as `/console`, wherever it is mounted."""
    return f"{prefix_of(request)}/console"


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
        static=static_urls(PACKAGE, base),
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
    told = failure_of(error)
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
        status=told.status,
        code=told.code,
        message=told.message,
        hint=told.hint,
        back=back,
    )
