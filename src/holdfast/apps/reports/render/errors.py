"""Errors of the renderer.

```
RenderError(code)
├── CompileError        the typesetter refused a job or its process died
├── MissingGlyphError   no font on this machine can print the name on the cover
└── MergeError          a chunk does not fit the plan
```
"""

from __future__ import annotations

EXIT_RENDER_ERROR = 3
"""Exit status of a child process that failed on purpose; any other one is a crash."""


class RenderError(Exception):
    """Base of everything the renderer raises on purpose."""

    code = "render_failed"


class CompileError(RenderError):
    """The typesetter refused a job, or its process ended without a result."""

    code = "render_compile_failed"


class MissingGlyphError(RenderError):
    """A name or title has letters that no font on this machine can print."""

    code = "render_missing_glyph"

    def __init__(self, *, field: str, value: str, missing: str, package: str) -> None:
        """Keep the field, its value, the missing characters and the package that has them."""
        self.field, self.value, self.missing, self.package = field, value, missing, package
        points = " ".join(f"U+{ord(c):04X}" for c in missing)
        super().__init__(
            f"{field} {value!r} cannot be printed – no font for {points}; "
            f"install a font that has them (Debian: {package}) and retry"
        )


class MergeError(RenderError):
    """A chunk is missing, or its pages or links do not fit the page map."""

    code = "render_merge_failed"
