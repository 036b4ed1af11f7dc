"""Commands with many options take them as one dataclass."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

Options = TypeVar("Options")


def takes(
    options: type[Options],
) -> Callable[[Callable[[typer.Context, Options], None]], Callable[..., None]]:
    """Give a command the fields of a dataclass as its parameters, as `Annotated` describes them."""

    def decorate(command: Callable[[typer.Context, Options], None]) -> Callable[..., None]:
        def call(context: typer.Context, **given: Any) -> None:
            command(context, options(**given))

        call.__name__, call.__doc__ = command.__name__, command.__doc__
        hints = get_type_hints(options, include_extras=True)
        parameters = [
            inspect.Parameter("context", inspect.Parameter.POSITIONAL_ONLY, annotation=typer.Context),
            *(_parameter(field, hints[field.name]) for field in dataclasses.fields(options)),  # type: ignore[arg-type]
        ]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return call

    return decorate


def _parameter(field: dataclasses.Field[Any], annotation: Any) -> inspect.Parameter:
    missing = field.default is dataclasses.MISSING
    default = inspect.Parameter.empty if missing else field.default
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
