"""One run of the typesetter as a process of its own.

`python -m holdfast.apps.reports.render.compile` reads a `CompileJob` as JSON on stdin, writes the
PDF and prints a `CompileResult` as JSON.
"""

from __future__ import annotations

import sys

from holdfast.apps.reports.render.errors import EXIT_RENDER_ERROR, RenderError
from holdfast.apps.reports.render.jobs import CompileJob, CompileResult
from holdfast.apps.reports.render.typesetter import compile_pdf

__all__ = ["CompileJob", "CompileResult", "compile_pdf", "main"]


def main() -> int:
    """Serve one job; exit status `EXIT_RENDER_ERROR` and the reason on stderr when it fails."""
    try:
        result = compile_pdf(CompileJob.model_validate_json(sys.stdin.read()))
    except RenderError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return EXIT_RENDER_ERROR
    sys.stdout.write(result.model_dump_json())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
