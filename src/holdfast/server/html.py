"""What all pages have in common: headers, templates, and what is told of an error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import jinja2
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from holdfast.errors import HoldfastError
from holdfast.server.problems import WITHHELD, log_unexpected, status_of

if TYPE_CHECKING:
    from starlette.requests import Request

logger = logging.getLogger(__name__)


def policy(**more: str) -> str:
    """Return a content security policy: everything from here, nothing inline, in nobody's frame.

    Args:
        **more: Sources beside `'self'`, by directive with underscores.
    """
    kinds = ("script-src", "style-src", "img-src", "font-src", "connect-src", "form-action")
    allowed = [
        " ".join((kind, "'self'", *more.get(kind.replace("-", "_"), "").split())) for kind in kinds
    ]
    return "; ".join(("default-src 'none'", *allowed, "frame-ancestors 'none'", "base-uri 'none'"))


HEADERS = {
    "Content-Security-Policy": policy(),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Browsers tell no-referrer pages' forms to come from nowhere, and those are refused.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every page: nothing from elsewhere, nothing inline, in nobody's frame, in nobody's cache."""


def templates_of(package: str) -> jinja2.Environment:
    """Return what renders a package's templates: all is escaped, a name that is missing is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def prefix_of(request: Request) -> str:
    """Return what comes before the path of a request's route, wherever that is mounted."""
    # From the address: within mounted applications routes are looked up by name in the outer one only,
    # and a route does not know the prefix that its router was included under.
    asked, own = request.scope["path"].split("/"), request.scope["route"].path.split("/")
    return "/".join(asked[: len(asked) - len(own) + 1])


def redirect(url: str) -> RedirectResponse:
    """Send the browser on to another page by GET."""
    return RedirectResponse(url, 303, headers=HEADERS)


class Failure(NamedTuple):
    """What is told of an error to a person."""

    status: int
    code: str
    message: str
    hint: str = ""


def failure_of(error: Exception) -> Failure:
    """Return what is told of an error; one that is not the person's is told in the log."""
    if isinstance(error, HoldfastError):
        status = status_of(error)
        if status >= 500:
            logger.error("page failed", extra={"error": error.code, "told": error.message})
            return Failure(status, error.code, WITHHELD)
        return Failure(status, error.code, error.message, error.hint)
    if isinstance(error, RequestValidationError):
        return Failure(422, "invalid_input", "This address asks for nothing we know.")
    if isinstance(error, HTTPException):
        return Failure(error.status_code, "request", str(error.detail))
    log_unexpected(error)
    return Failure(500, "internal", "Something went wrong; it is in the log.")
