"""Structured output: a type in, its JSON schema to the provider, a validated value out.

Source of the rules of strict mode: OpenAI, "Structured model outputs", supported schemas.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from holdfast.errors import InvalidResponseError
from holdfast.llm.providers.base import OutputSchema
from holdfast.llm.providers.notes import length_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T = TypeVar("T")

LISTED_ERRORS_MAX = 8
"""Validation errors named in a message; the rest is counted."""

_WRAPPED = "value"
"""Property that holds the answer when the type is not an object, which the root must be."""

_DROPPED_IN_STRICT = frozenset(
    {"default", "discriminator", "examples", "maxLength", "minLength", "title", "uniqueItems"}
)
"""Keywords strict mode refuses or ignores; our own validation still holds them."""

_IMPOSSIBLE_IN_STRICT = frozenset(
    {"allOf", "dependentRequired", "if", "not", "patternProperties", "prefixItems"}
)
_FENCED = re.compile(r"\A\s*```[A-Za-z]*\s*\n(?P<body>.*?)\n?\s*```\s*\Z", re.DOTALL)
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")


class OutputType(Generic[T]):
    """A type that answers are parsed into; build it with `output_type`, which remembers it."""

    def __init__(self, target: type[T]) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(target)
        schema = _with_root(self._adapter.json_schema(mode="validation"))
        self._wrapped = schema.get("type") != "object"
        if self._wrapped:
            schema = _wrap(schema)
        strict = strict_schema(schema)
        name = _NOT_IN_A_NAME.sub("_", getattr(target, "__name__", "output")).strip("_")
        self.schema = OutputSchema(
            name=name[:64] or "output",
            schema=schema if strict is None else strict,
            strict=strict is not None,
        )
        self._names = frozenset(_property_names(schema))

    def parse(self, text: str) -> T:
        """Return the value of an answer.

        A fenced code block around the JSON is tolerated.

        Raises:
            InvalidResponseError: The text is not JSON or does not fit the type. The message names
                places and kinds of errors; it never quotes the text.
        """
        problem: str
        fenced = _FENCED.match(text)
        try:
            value = json.loads(fenced["body"] if fenced else text, parse_constant=_refuse_constant)
            if self._wrapped and isinstance(value, dict) and set(value) == {_WRAPPED}:
                value = value[_WRAPPED]
            return self._adapter.validate_json(json.dumps(value))
        except ValidationError as error:
            problem = self._describe(error)
        except (ValueError, RecursionError):
            problem = f"it is not JSON ({len(text)} characters)"
        # Raised out here so that the text cannot come along as the context of the error.
        raise InvalidResponseError(
            f"the model's output does not fit {self.schema.name!r}: {problem}",
            hint="it is retried within its own limit; a larger model or a simpler schema may help",
        )

    def _describe(self, error: ValidationError) -> str:
        listed = error.errors(include_input=False, include_url=False, include_context=False)
        named = [f"{self._place(each['loc'])} {each['type']}" for each in listed]
        more = len(named) - LISTED_ERRORS_MAX
        return ", ".join(named[:LISTED_ERRORS_MAX]) + (f" and {more} more" if more > 0 else "")

    def _place(self, loc: tuple[int | str, ...]) -> str:
        """Write a location; keys that only the model chose are left out."""
        parts = (str(part) if isinstance(part, int) or part in self._names else "*" for part in loc)
        return ".".join(parts) or "root"


def output_type(target: type[T]) -> OutputType[T]:
    """Return how answers become `target`: a pydantic model, dataclass, TypedDict or JSON type.

    Raises:
        pydantic.errors.PydanticSchemaGenerationError: The type has no schema.
    """
    remembered: Any = _remembered
    built: OutputType[T] = remembered(target)
    return built


@lru_cache(maxsize=256)
def _remembered(target: Any) -> OutputType[Any]:
    return OutputType(target)


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the schema by the rules of strict mode, or None when it cannot be said in them.

    All properties become required and no others are allowed; an optional one is then always
    given, by its type. Limits that strict mode does not know are dropped, those of a text's
    length are put into its description.
    """
    try:
        return _strict(dict(schema))
    except _NotStrictError:
        return None


def _refuse_constant(name: str) -> float:
    """Refuse NaN and Infinity, which JSON does not have and the store does not take."""
    raise ValueError(name)


class _NotStrictError(Exception):
    pass


def _strict(node: dict[str, Any]) -> dict[str, Any]:
    if not _IMPOSSIBLE_IN_STRICT.isdisjoint(node):
        raise _NotStrictError
    if "$ref" in node:
        # Nothing may stand beside a reference.
        return {"$ref": node["$ref"]}
    kept = {
        _RENAMED.get(key, key): child for key, child in node.items() if key not in _DROPPED_IN_STRICT
    }
    if "minLength" in node or "maxLength" in node:
        note = length_note(node.get("minLength", 0), node.get("maxLength"))
        kept["description"] = f"{node.get('description', '')} {note}".strip()
    for key in kept.keys() & {"properties", "$defs"}:
        kept[key] = {name: _strict(child) for name, child in kept[key].items()}
    if "anyOf" in kept:
        kept["anyOf"] = [_strict(child) for child in kept["anyOf"]]
    if isinstance(kept.get("items"), dict):
        kept["items"] = _strict(kept["items"])
    if kept.get("type") == "object":
        _close_object(kept)
    if (kept.get("type") == "array" and not kept.get("items")) or not _SHAPES & kept.keys():
        raise _NotStrictError  # `Any`: strict mode needs a type everywhere
    return kept


_RENAMED = {"oneOf": "anyOf"}
_SHAPES = {"type", "anyOf", "enum", "const"}


def _close_object(node: dict[str, Any]) -> None:
    if not node.get("properties") or node.get("additionalProperties", False) is not False:
        raise _NotStrictError
    node["additionalProperties"] = False
    node["required"] = list(node["properties"])


def _with_root(schema: dict[str, Any]) -> dict[str, Any]:
    """Write the root out where it is a reference, as of a type that contains itself."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    definitions = schema["$defs"]
    return {**definitions[reference.rsplit("/", 1)[-1]], "$defs": definitions}


def _wrap(schema: dict[str, Any]) -> dict[str, Any]:
    inner = dict(schema)
    definitions = inner.pop("$defs", None)
    wrapped: dict[str, Any] = {
        "type": "object",
        "properties": {_WRAPPED: inner},
        "required": [_WRAPPED],
    }
    if definitions is not None:
        wrapped["$defs"] = definitions
    return wrapped


def _property_names(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        properties = node.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for child in node.values():
            yield from _property_names(child)
    elif isinstance(node, list):
        for child in node:
            yield from _property_names(child)
