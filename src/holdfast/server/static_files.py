"""Styles, scripts, pictures and fonts of pages, under names that change with their content."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.responses import Response

from holdfast.ids import content_hash

_MEDIA_TYPES = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
_SHARED = "holdfast.server"
"""Whose files all pages may use."""

_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that pages refer to."""

    content: bytes
    media_type: str
    version: str
    """Changes with the content, so that browsers may keep what they have for good."""


@cache
def static_files(package: str) -> dict[str, StaticFile]:
    """Return all files of a package's pages by name; there are a few, and they are small."""
    found = {}
    for owner in (_SHARED, package):
        for file in files(owner).joinpath("static").iterdir():
            media_type = _MEDIA_TYPES.get(file.name.rpartition(".")[2])
            if media_type is not None:
                content = file.read_bytes()
                found[file.name] = StaticFile(content, media_type, content_hash(content)[:12])
    return found


def static_urls(package: str, base: str) -> dict[str, str]:
    """Return the addresses of a package's files by name, below the one that its pages have."""
    return {
        name: f"{base}/static/{name}?v={file.version}" for name, file in static_files(package).items()
    }


def static_answer(package: str, name: str) -> Response:
    """Return an answer with a file.

    Raises:
        HTTPException: There is none of this name.
    """
    file = static_files(package).get(name)
    if file is None:
        raise HTTPException(404, f"there is no file {name!r}")
    return Response(file.content, media_type=file.media_type, headers=_HEADERS)
