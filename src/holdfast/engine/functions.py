"""Functions by name: for child processes and for undo, which outlive the process that named them."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from holdfast import codec
from holdfast.errors import StepUsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def reference_to(function: Callable[..., Any], *, what: str) -> str:
    """Return `module:qualified.name` of an importable function; a script goes by its file's name.

    Raises:
        StepUsageError: Another process could not find it: a lambda, a closure, a partial.
    """
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    if module is not None and name is not None and "<" not in name:
        module = codec.public_module_name(module)
        if _look_up(codec.loaded_module(module), name) is function:
            return f"{module}:{name}"
    raise StepUsageError(
        f"{what} is {name or type(function).__name__!r}, which another process could not find by name",
        hint="use a function defined at the top level of a module, and pass values as arguments",
    )


def find_function(reference: str) -> Callable[..., Any]:
    """Return the function that `reference_to` named.

    Raises:
        StepUsageError: It is no longer there.
    """
    module, _, name = reference.partition(":")
    try:
        found = _look_up(codec.loaded_module(module) or importlib.import_module(module), name)
    except ImportError as error:
        raise StepUsageError(
            f"module {module!r} of the recorded function {reference!r} cannot be imported: {error}",
            hint="keep functions that running jobs refer to, under their old name",
        ) from error
    if not callable(found):
        raise StepUsageError(
            f"the recorded function {reference!r} no longer exists",
            hint="keep functions that running jobs refer to, under their old name",
        )
    return found  # type: ignore[no-any-return]


def encode_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], *, what: str
) -> bytes:
    """Encode call arguments as JSON text `[[positional…], {keyword…}]`, by the annotations.

    Raises:
        UnserializableValueError: An argument has no JSON form.
        StepUsageError: The arguments do not fit the function.
    """
    hints = codec.parameter_types(function)
    positional = _bind(function, args, kwargs, what)
    texts = [
        codec.encode_value(value, hints.get(name), what=f"argument {index} of {what}")[0]
        for index, (name, value) in enumerate(zip(positional, args, strict=False))
    ]
    keyed = [
        codec.to_json(name)
        + b":"
        + codec.encode_value(value, hints.get(name), what=f"argument {name!r} of {what}")[0]
        for name, value in kwargs.items()
    ]
    return b"[[" + b",".join(texts) + b"],{" + b",".join(keyed) + b"}]"


def decode_arguments(
    function: Callable[..., Any], text: bytes, *, what: str
) -> tuple[list[Any], dict[str, Any]]:
    """Decode what `encode_arguments` gave, by the annotations of today's function.

    Raises:
        CheckpointTypeError: An argument does not fit its annotation.
    """
    args, kwargs = codec.from_json(text)
    hints = codec.parameter_types(function)
    positional = _bind(function, args, kwargs, what)

    def typed(name: str, value: Any) -> Any:
        if name not in hints:
            return value
        return codec.decode_value(
            codec.to_json(value), hints[name], None, what=f"argument {name!r} of {what}"
        )

    return (
        [typed(name, value) for name, value in zip(positional, args, strict=False)],
        {name: typed(name, value) for name, value in kwargs.items()},
    )


def _bind(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], what: str
) -> list[str]:
    """Return the parameter name that each positional argument falls on."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise StepUsageError(f"{what} was called with arguments that do not fit: {error}") from None
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names.extend([parameter.name] * (len(args) - len(names)))
            break
        if len(names) == len(args):
            break
        names.append(parameter.name)
    return names


def _look_up(module: Any, name: str) -> Any:
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found
