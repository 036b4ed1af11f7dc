"""Sample text: sentences and schema-valid JSON, the same for the same seed, marked as sample.

For offline use and tests. Everything derives from a hash, so nothing here draws random numbers.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from holdfast.llm.providers.notes import read_length_note

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLE_MARK = "[sample]"
"""Begins every text, so that nobody takes it for a model's answer."""

_SUBJECTS = (
    "The first half of the week", "A quiet morning", "An old friend", "This chapter",
    "The plan you made", "A short walk", "The next decision", "A careful reading", "Your own pace",
    "The harder question", "A small change", "The evening",
)  # fmt: skip
_VERBS = (
    "brings", "asks for", "rewards", "points to", "leaves room for", "makes visible", "supports",
    "slows down", "invites", "depends on", "gives shape to", "returns to",
)  # fmt: skip
_OBJECTS = (
    "a clear answer", "more patience than usual", "something worth keeping", "a second look",
    "an honest conversation", "what was left undone", "a steady rhythm", "one thing at a time",
    "the people around you", "a better question", "the work that matters", "some rest",
)  # fmt: skip
_TAILS = (
    "before noon", "in the days after", "without much noise", "as the month turns",
    "where you least expect it", "once the list is short", "for the rest of the season",
    "while there is time", "in its own order", "step by step",
)  # fmt: skip

_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "sample@example.com",
    "uri": "https://example.com/sample",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}
_TEXT_SENTENCES = 3
_DEPTH_MAX = 12


class SampleWriter:
    """A stream of choices that derives from a seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._drawn = 0

    def number(self, below: int) -> int:
        """Return the next choice, 0 to `below` - 1."""
        self._drawn += 1
        digest = hashlib.sha256(f"{self._seed}/{self._drawn}".encode()).digest()
        return int.from_bytes(digest[:8]) % below

    def sentence(self) -> str:
        """Return one sentence of about ten words."""
        parts = (lot[self.number(len(lot))] for lot in (_SUBJECTS, _VERBS, _OBJECTS, _TAILS))
        return " ".join(parts) + "."

    def text(self, *, words: int = 0) -> str:
        """Return marked sentences, of at least `words` words."""
        sentences = [f"{SAMPLE_MARK} {self.sentence()}"]
        count = len(sentences[0].split())
        while len(sentences) < _TEXT_SENTENCES or count < words:
            sentences.append(self.sentence())
            count += len(sentences[-1].split())
        return " ".join(sentences)

    def value(self, schema: Mapping[str, Any]) -> Any:
        """Return a value that fits a JSON schema (the part of it that pydantic writes)."""
        return self._value(schema, schema.get("$defs", {}), 0)

    def _value(self, node: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> Any:
        if "$ref" in node:
            return self._value(defs[node["$ref"].rsplit("/", 1)[-1]], defs, depth + 1)
        if "const" in node:
            return node["const"]
        if "enum" in node:
            return node["enum"][self.number(len(node["enum"]))]
        for key in ("anyOf", "oneOf", "allOf"):
            if node.get(key):
                return self._value(_shallowest(node[key], depth), defs, depth + 1)
        kind = node.get("type", "string")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object":
            return self._object(node, defs, depth)
        if kind == "array":
            return self._array(node, defs, depth)
        return self._scalar(kind, node)

    def _object(self, node: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> Any:
        required = set(node.get("required", ()))
        return {
            name: self._value(child, defs, depth + 1)
            for name, child in node.get("properties", {}).items()
            if name in required or depth < _DEPTH_MAX
        }

    def _array(self, node: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> Any:
        if "prefixItems" in node:
            return [self._value(child, defs, depth + 1) for child in node["prefixItems"]]
        least = int(node.get("minItems", 0))
        usual = 0 if depth >= _DEPTH_MAX else 2
        length = min(max(least, usual), int(node.get("maxItems", 1_000_000)))
        return [self._value(node.get("items", {}), defs, depth + 1) for _ in range(length)]

    def _scalar(self, kind: str, node: Mapping[str, Any]) -> Any:
        match kind:
            case "boolean":
                return self.number(2) == 1
            case "integer":
                return round(self._number(node))
            case "number":
                return self._number(node)
            case "null":
                return None
            case _:
                return self._string(node)

    def _number(self, node: Mapping[str, Any]) -> float:
        low = node.get("minimum", node.get("exclusiveMinimum"))
        high = node.get("maximum", node.get("exclusiveMaximum"))
        if low is None:
            low = 0 if high is None or high > 0 else high - 10
        if high is None:
            high = low + 10
        step = node.get("multipleOf")
        if step is not None:
            return float(-(-low // step) * step) or float(step)
        inside = low + (high - low) * (1 + self.number(98)) / 100
        if node.get("type") == "integer":
            first = low + ("exclusiveMinimum" in node)
            last = high - ("exclusiveMaximum" in node)
            return float(first + self.number(int(last - first) + 1))
        return float(inside)

    def _string(self, node: Mapping[str, Any]) -> str:
        if node.get("format") in _FORMATS:
            return _FORMATS[node["format"]]
        least, most = read_length_note(node.get("description", ""))
        least, most = node.get("minLength", least), node.get("maxLength", most)
        text = self.text()
        while len(text) < least:
            text += " " + self.sentence()
        return text[:most]


def _shallowest(choices: list[Mapping[str, Any]], depth: int) -> Mapping[str, Any]:
    """Pick the first choice; deep down the one that ends soonest, so that recursion ends."""
    plain = [each for each in choices if each.get("type") != "null"]
    if depth >= _DEPTH_MAX and len(plain) < len(choices):
        return {"type": "null"}
    return (plain or choices)[0]
