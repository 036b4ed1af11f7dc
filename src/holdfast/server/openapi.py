"""The description of the API, as clients and tools read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

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
    {"name": "events", "description": "What happened to a job, by pages and live."},
    {"name": "webhooks", "description": "Where the ends of jobs are told."},
    {"name": "orders", "description": "Reports that are sold: ordered, paid, followed, fetched."},
    {"name": "operations", "description": "Lines, workers, lanes, spend, health and metrics."},
]

_PROBLEM = {"$ref": "#/components/schemas/Problem"}


class DescribedApi(FastAPI):
    """An application whose description has errors, too, with the media type that they are sent with."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schema = super().openapi()
            _restore_examples(schema["components"]["schemas"])
            for path in schema["paths"].values():
                for operation in path.values():
                    _tell_problems(operation["responses"])
            schema["tags"] = _used_tags(schema)
            self.openapi_schema = schema
        return self.openapi_schema


def _used_tags(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tags that operations have: not every service has all routes."""
    used = {
        tag
        for path in schema["paths"].values()
        for operation in path.values()
        for tag in operation.get("tags", ())
    }
    return [tag for tag in schema["tags"] if tag["name"] in used]


def _tell_problems(responses: dict[str, Any]) -> None:
    for response in responses.values():
        content = response.get("content", {})
        if content.get("application/json", {}).get("schema") == _PROBLEM:
            content[MEDIA_TYPE] = content.pop("application/json")


def _restore_examples(schemas: dict[str, Any]) -> None:
    """Put examples in again as they were written: FastAPI leaves out what is null in them."""
    for model in _models(BaseModel):
        extra = model.model_config.get("json_schema_extra")
        if model.__name__ in schemas and isinstance(extra, dict) and "examples" in extra:
            schemas[model.__name__]["examples"] = extra["examples"]


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield all models of ours."""
    for model in base.__subclasses__():
        if model.__module__.startswith("holdfast."):
            yield model
        yield from _models(model)
