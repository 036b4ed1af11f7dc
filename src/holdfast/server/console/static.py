"""The console's style and script, under names that change with their content."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from holdfast.ids import content_hash

_MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that pages refer to."""

    content: bytes
    media_type: str
    version: str
    """Changes with the content, so that browsers may keep what they have for good."""


@cache
def static_files() -> dict[str, StaticFile]:
    """Return all files by name; there are a few, and they are small."""
    found = {}
    for file in files("holdfast.server.console").joinpath("static").iterdir():
        media_type = _MEDIA_TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            content = file.read_bytes()
            found[file.name] = StaticFile(content, media_type, content_hash(content)[:12])
    return found
