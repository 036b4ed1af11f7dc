"""Typed values to JSON and back.

The promise: what comes back equals what went in, or the value is refused when it is stored.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pydantic
from pydantic_core import PydanticSerializationError

from holdfast.errors import CheckpointTypeError, UnserializableValueError, ValueTooLargeError

VALUE_BYTES_MAX = 64 * 1024**2
"""Largest JSON text of one value, 64 MiB; keep files as artifacts instead."""

_INTEGER_MAX = 2**63
_PLAIN_TYPES = (str, int, float, bool, type(None), dict, list)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def to_json(value: Any) -> bytes:
    """Encode a value that is made of JSON types only; for the engine's own records."""
    return _encoder.encode(value)


def from_json(text: bytes) -> Any:
    """Decode any JSON text to plain values."""
    return _decoder.decode(text)


def encode_value(value: Any, annotation: Any, *, what: str) -> tuple[bytes, str | None]:
    """Encode a value by its declared type, or by its own when nothing is declared.

    Args:
        value: A JSON value, a Pydantic model, a dataclass, or whatever `annotation` describes.
        annotation: The declared type; None when there is none.
        what: The value's name in error messages, such as "result of step 'outline'".

    Returns:
        The JSON text, and the class's `module:name` when only the value itself told its type.

    Raises:
        UnserializableValueError: The value would not come back as it is.
        ValueTooLargeError: The text is larger than `VALUE_BYTES_MAX`.
    """
    adapter = _adapter_for(annotation)
    type_name = None
    if adapter is None and _is_record(value):
        adapter, type_name = _record_adapter(type(value), what)
    if adapter is None:
        text = _encode_plain(value, what)
    else:
        text = _encode_typed(value, adapter, what)
    if len(text) > VALUE_BYTES_MAX:
        raise ValueTooLargeError(
            f"{what} is {len(text)} bytes of JSON, the limit is {VALUE_BYTES_MAX}",
            hint="save it as an artifact and return the artifact's name",
        )
    return text, type_name


def decode_value(text: bytes, annotation: Any, type_name: str | None, *, what: str) -> Any:
    """Decode what `encode_value` gave; the annotation of today's code comes first.

    Raises:
        CheckpointTypeError: The text does not fit the type, or the type cannot be found.
    """
    adapter = _adapter_for(annotation)
    if adapter is None and type_name is not None:
        adapter = type_adapter(_find_type(type_name, what))
    if adapter is None:
        return _decoder.decode(text)
    try:
        return adapter.validate_json(text)
    except pydantic.ValidationError as error:
        raise CheckpointTypeError(
            f"stored {what} does not fit the type the code now declares: {describe_invalid(error)}",
            hint="give new fields a default, or use a new key for the changed result",
        ) from None


def is_storable(text: str) -> bool:
    """Tell whether every database can hold a text: PostgreSQL has no NUL, UTF-8 no lone surrogates."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def describe_invalid(error: pydantic.ValidationError) -> str:
    """Say where and why validation failed, without the values themselves."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    parts = [f"{'.'.join(map(str, item['loc'])) or 'value'}: {item['msg']}" for item in found[:5]]
    more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""
    return "; ".join(parts) + more


def return_type(function: Any) -> Any:
    """Return the declared return type of a callable, None when there is none to rely on."""
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    annotations = getattr(function, "__annotations__", None)
    if not annotations or "return" not in annotations:
        return None
    return _resolved_hints(function).get("return")


def parameter_types(function: Any) -> dict[str, Any]:
    """Return the declared parameter types by name; unresolvable ones are left out."""
    hints = dict(_resolved_hints(getattr(function, "__func__", function)))
    hints.pop("return", None)
    return hints


@functools.lru_cache(maxsize=4096)
def _resolved_hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        # Names imported under TYPE_CHECKING only: the value's own type has to do.
        return {}


def _is_record(value: Any) -> bool:
    return isinstance(value, pydantic.BaseModel) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    )


@functools.lru_cache(maxsize=4096)
def type_adapter(annotation: Any) -> pydantic.TypeAdapter[Any] | None:
    """Return an adapter; None for what Pydantic knows nothing of, such as `Awaitable[Page]`."""
    try:
        return pydantic.TypeAdapter(annotation)
    except pydantic.PydanticUserError:
        return None


def _record_adapter(record: type, what: str) -> tuple[pydantic.TypeAdapter[Any], str]:
    """Return how to encode an instance of `record`, and the name to find the class by.

    Raises:
        UnserializableValueError: A later process could not find or rebuild it.
    """
    type_name = f"{public_module_name(record.__module__)}:{record.__qualname__}"
    adapter = type_adapter(record)
    if adapter is None or _look_up(type_name) is not record:
        raise UnserializableValueError(
            f"{what} is of type {type_name!r}, which a later attempt could not rebuild",
            hint="define it at the top level of a module, with fields of types that JSON can carry",
        )
    return adapter, type_name


def _adapter_for(annotation: Any) -> pydantic.TypeAdapter[Any] | None:
    if annotation is None or annotation in _PLAIN_TYPES:
        return None
    return None if _is_plain_annotation(annotation) else type_adapter(annotation)


def _is_plain_annotation(annotation: Any) -> bool:
    """Whether JSON alone carries values of this type, so that no validation is needed."""
    if annotation in _PLAIN_TYPES or annotation is Any or annotation is object:
        return True
    if isinstance(annotation, (TypeVar, typing.ParamSpec)):
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (list, typing.Union, types.UnionType):
        return all(_is_plain_annotation(argument) for argument in arguments)
    return origin is dict and arguments[0] is str and _is_plain_annotation(arguments[1])


def _encode_typed(value: Any, adapter: pydantic.TypeAdapter[Any], what: str) -> bytes:
    try:
        text = adapter.dump_json(value, warnings="error")
        restored = adapter.validate_json(text)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        cause = describe_invalid(error) if isinstance(error, pydantic.ValidationError) else str(error)
        raise UnserializableValueError(
            f"{what} has no JSON form of its declared type: {cause}",
            hint="return what the annotation says, or correct the annotation",
        ) from None
    compares: object = getattr(type(value), "__eq__", None)
    if compares is not object.__eq__ and restored != value:
        raise UnserializableValueError(
            f"{what}, a {type(value).__name__}, would come back different from its stored form",
            hint="annotate the exact type and use only what survives JSON (no NaN, no private state)",
        )
    return text


def _encode_plain(value: Any, what: str) -> bytes:
    try:
        text = _encoder.encode(value)
    except RecursionError:
        raise UnserializableValueError(
            f"{what} is nested too deeply, or holds itself", hint="return a flatter value"
        ) from None
    except UnicodeEncodeError:
        raise UnserializableValueError(
            f"{what} holds text that is not Unicode (a lone surrogate)",
            hint="decode bytes with errors='replace', or return them as base64",
        ) from None
    except (TypeError, ValueError):
        # Told below by name.
        text = b""
    _check_plain(value, what)
    return text


def _check_plain(value: Any, what: str) -> None:
    """Refuse everything that plain JSON would change on the way."""
    stack = [value]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is str or item is None or kind is bool:
            continue
        if kind is int:
            if not -_INTEGER_MAX <= item < _INTEGER_MAX:
                raise UnserializableValueError(
                    f"{what} holds an integer beyond 64 bits", hint="return it as a string"
                )
        elif kind is float:
            if not math.isfinite(item):
                raise UnserializableValueError(
                    f"{what} holds {item!r}, which JSON does not have",
                    hint="return None or a string instead",
                )
        elif kind is list:
            stack.extend(item)
        elif kind is dict:
            if any(type(key) is not str for key in item):
                raise UnserializableValueError(
                    f"{what} holds a dict with keys that are not strings",
                    hint="annotate its type where the function is defined, e.g. dict[int, str]",
                )
            stack.extend(item.values())
        else:
            raise UnserializableValueError(
                f"{what} holds a {kind.__module__}.{kind.__qualname__}, which JSON does not have",
                hint="annotate its type where the function is defined (a Pydantic model, dataclass or a "
                "container of them), or use plain JSON values",
            )


def public_module_name(module: str) -> str:
    """Return the name under which another process can import a module: a script's file name."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    path = getattr(main, "__file__", None)
    return Path(path).stem if path else module


def loaded_module(name: str) -> types.ModuleType | None:
    """Return a module that is imported already, the running script included; None if it is not."""
    if name == public_module_name("__main__"):
        return sys.modules["__main__"]
    return sys.modules.get(name)


def _look_up(type_name: str) -> Any:
    """Find a class among the modules already imported: stored data must not trigger imports."""
    module_name, _, path = type_name.partition(":")
    found: Any = loaded_module(module_name)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _find_type(type_name: str, what: str) -> Any:
    found = _look_up(type_name)
    if isinstance(found, type) and (
        issubclass(found, pydantic.BaseModel) or dataclasses.is_dataclass(found)
    ):
        return found
    raise CheckpointTypeError(
        f"stored {what} is of type {type_name!r}, which is not among the imported modules",
        hint="import the module that defines it, or pass returns= with the type it has now",
    )
