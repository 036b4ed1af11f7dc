"""The description of the API, as clients and tools read it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from holdfast.server.problems import MEDIA_TYPE

DESCRIPTION = """\
Submit long AI jobs, watch them, steer them, fetch what they made.

A job that was accepted reaches an end, whatever dies. Send an `Idempotency-Key` with a submission to
be able to repeat it. Errors are problem details (RFC 9457) with a stable `code`, each explained on the
page that its `type` links to.
"""

TAGS = [
    {"name": "jobs", "description": "Submit, look, steer."},
    {"name": "artifacts", "description": "The files that jobs have saved."},
    {"name": "kinds", "description": "What jobs there are, and what they take and give."},
    {"name": "keys", "description": "Who may do what."},
]

_PROBLEM = {"$ref": "#/components/schemas/Problem"}


class DescribedApi(FastAPI):
    """An application whose description has errors, too, with the media type that they are sent with."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schema = super().openapi()
            for path in schema["paths"].values():
                for operation in path.values():
                    for response in operation["responses"].values():
                        content = response.get("content", {})
                        if content.get("application/json", {}).get("schema") == _PROBLEM:
                            content[MEDIA_TYPE] = content.pop("application/json")
            self.openapi_schema = schema
        return self.openapi_schema
