"""The operations of the service, from its own description: a new route cannot be forgotten."""

from typing import Any, NamedTuple

from holdfast.apps.reports.shop.routers import shop_routers
from holdfast.server.app import create_api
from holdfast.server.service import ServiceOptions

PUBLIC = frozenset({"/health/live", "/health/ready", "/api/v1/checkout", "/api/v1/webhooks/stripe"})
"""What anybody may ask; everything else in the description wants a key."""


class Operation(NamedTuple):
    method: str
    path: str
    described: dict[str, Any]

    @property
    def name(self) -> str:
        found: str = self.described["operationId"]
        return found

    @property
    def takes(self) -> bool:
        """Whether there is anything to give it."""
        return "requestBody" in self.described or bool(self.described.get("parameters"))

    def example(self) -> Any:
        """Return the example of the body that it takes; None without one."""
        body = self.described.get("requestBody")
        if body is None:
            return None
        return example_of(body["content"]["application/json"])

    def filled(self, **values: str) -> str:
        """Return the path with its parameters; one that has no value here fails loudly."""
        return self.path.format_map(values)


def describe() -> dict[str, Any]:
    """Return the OpenAPI of the service; nothing is opened for it."""

    def never_opened():
        raise AssertionError("a description needs no service")

    return create_api(never_opened, ServiceOptions(), routers=shop_routers()).openapi()


DESCRIPTION = describe()


def operations() -> list[Operation]:
    return [
        Operation(method, path, described)
        for path, item in DESCRIPTION["paths"].items()
        for method, described in item.items()
    ]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, also one that may be null instead."""
    for choice in schema.get("anyOf", ()):
        if "$ref" in choice:
            return resolved(choice)
    if "$ref" in schema:
        found: dict[str, Any] = DESCRIPTION["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def example_of(content: dict[str, Any]) -> Any:
    """Return the example that a media type or its schema gives; None without one."""
    if "example" in content:
        return content["example"]
    examples = resolved(content.get("schema", {})).get("examples")
    return examples[0] if examples else None
