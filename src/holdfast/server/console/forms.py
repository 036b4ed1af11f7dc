"""Forms that are taken only from a page that was made for whoever sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import AccessDeniedError
from holdfast.server.forms import read_form
from holdfast.server.service import service_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from holdfast.server.console.viewing import Viewer


async def read_own_form(request: Request, viewer: Viewer) -> dict[str, str]:
    """Return the fields of a form from a page that was made for this viewer.

    Raises:
        AccessDeniedError: It was not: somebody may want the viewer to do what he does not know of.
        InvalidInputError, ValueTooLargeError: It is no form, or too large.
    """
    form = await read_form(request)
    if not viewer.sent(service_of(request), form.get("token", "")):
        raise AccessDeniedError(name="the form", action="act for another session than it was made in")
    return form
