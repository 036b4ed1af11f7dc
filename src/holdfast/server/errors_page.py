"""The page that the `type` of a problem leads to: each code, and what it means."""

from __future__ import annotations

import base64
import hashlib
import inspect
from importlib.resources import files
from typing import NamedTuple

from fastapi import APIRouter
from jinja2 import Environment
from starlette.responses import HTMLResponse

from holdfast import errors
from holdfast.errors import HoldfastError
from holdfast.server.problems import INTERNAL

router = APIRouter(include_in_schema=False)

_PAGES = files("holdfast.server") / "pages"

_FAMILIES = (
    (errors.RequestError, "Requests"),
    (errors.ConfigError, "Configuration"),
    (errors.JobError, "Job code"),
    (errors.StoreError, "Store"),
    (errors.ArtifactError, "Artifacts"),
    (errors.DispatchError, "Announcements"),
    (errors.LLMError, "Model calls"),
    (HoldfastError, "Others"),
)


class Entry(NamedTuple):
    """A code with its meaning."""

    code: str
    meaning: str
    transient: bool = False


def entries() -> dict[str, list[Entry]]:
    """Return all codes by family, from the errors' own docstrings."""
    found: dict[str, list[Entry]] = {title: [] for _, title in _FAMILIES}
    for name in errors.__all__:
        error = getattr(errors, name)
        if issubclass(error, HoldfastError):
            title = next(title for family, title in _FAMILIES if issubclass(error, family))
            meaning = inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0]
            found[title].append(Entry(error.code, meaning, error.transient))
    found["Others"].append(Entry(INTERNAL, "Something failed that nobody expected; the log says where."))
    return {title: sorted(listed) for title, listed in found.items()}


def _render() -> HTMLResponse:
    style = (_PAGES / "errors.css").read_text()
    template = Environment(autoescape=True).from_string((_PAGES / "errors.html").read_text())
    # Only this very style is applied, and nothing else is loaded.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"
    return HTMLResponse(
        template.render(families=entries(), style=style),
        headers={"Content-Security-Policy": policy, "Cache-Control": "public, max-age=3600"},
    )


_PAGE = _render()


@router.get("/errors")
async def show_errors() -> HTMLResponse:
    """Return the page; anybody may read it, for it says nothing of this installation."""
    return _PAGE
