"""Who looks at a page: found out by the session's cookie, or by being on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request

from holdfast.errors import AccessDeniedError
from holdfast.server.access import OPERATOR, Action, Principal
from holdfast.server.auth import SESSION_COOKIE, find_session
from holdfast.server.origins import is_local
from holdfast.server.service import service_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.server.sections import Section
    from holdfast.server.service import Service

FORM = "form"
"""Purpose of the tokens that forms carry."""

_OPEN = "open access"


class SignInNeeded(Exception):  # noqa: N818 - no error: the answer is the way to the sign-in page
    """Nobody is known to be looking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who looks at a page, and what ties a form to that."""

    principal: Principal
    session: str = ""
    """The session's cookie; empty where access is open."""

    def may(self, action: str) -> bool:
        """Whether what needs this action is shown."""
        return Action(action) in self.principal.actions

    def enters(self, service: Service, section: Section) -> bool:
        """Whether a section of the console exists for this viewer."""
        return section.open_to(service.resources, self.principal)

    def form_token(self, service: Service) -> str:
        """Return what a form must carry to be taken for one of this viewer's pages."""
        return service.tokens.mark(FORM, self.session or _OPEN)

    def sent(self, service: Service, token: str) -> bool:
        """Whether a form with this token comes from a page that was made for this viewer."""
        return service.tokens.is_mark(FORM, self.session or _OPEN, token)


async def find_viewer(request: Request) -> Viewer | None:
    """Return who looks; None if nobody known does."""
    service = service_of(request)
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie is not None:
        principal = await find_session(service, cookie)
        if principal is not None:
            return Viewer(principal=principal, session=cookie)
    if service.options.open_access and is_local(request):
        return Viewer(principal=OPERATOR)
    return None


def allowed(*actions: Action, section: Section | None = None) -> Callable[[Request], Awaitable[Viewer]]:
    """Return a dependency that gives the viewer if it may do all of `actions`, and enter the section."""

    async def check(request: Request) -> Viewer:
        viewer = await find_viewer(request)
        if viewer is None:
            raise SignInNeeded
        if section is not None and not viewer.enters(service_of(request), section):
            raise HTTPException(404, "There is no such page.")
        for action in actions:
            if action not in viewer.principal.actions:
                raise AccessDeniedError(name=viewer.principal.name, action=action)
        return viewer

    return check


Anyone = Annotated[Viewer, Depends(allowed())]
Looking = Annotated[Viewer, Depends(allowed(Action.READ))]
Overseeing = Annotated[Viewer, Depends(allowed(Action.ADMIN))]
Controlling = Annotated[Viewer, Depends(allowed(Action.READ, Action.CONTROL))]
Forking = Annotated[Viewer, Depends(allowed(Action.READ, Action.SUBMIT))]
