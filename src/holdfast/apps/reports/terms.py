"""What a product costs, may cost us, and how it is written: configuration, checked at start."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from holdfast.apps.reports.models import WritingOptions
from holdfast.codec import describe_invalid
from holdfast.errors import ConfigError
from holdfast.model import Budget

_DEFAULTS: Final = Path(__file__).parent / "products.toml"


class ProductTerms(BaseModel):
    """The terms of one product."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    price_usd: Annotated[Decimal, Field(ge=0, decimal_places=2)]
    """What a customer pays."""
    budget_tokens: Annotated[int, Field(gt=0)] | None = None
    """The most tokens that one report may use; what needs more is parked."""
    budget_usd: Annotated[Decimal, Field(gt=0)] | None = None
    """The most money that one report may cost; needs models of known price."""
    typical_seconds: Annotated[float, Field(gt=0)] = 3600
    """How long one takes, told to customers until there are reports to measure it by."""
    writing: WritingOptions = WritingOptions()
    """How it is written, unless the request says otherwise."""

    @property
    def typical_time(self) -> timedelta:
        """How long one takes."""
        return timedelta(seconds=self.typical_seconds)

    @property
    def budget(self) -> Budget:
        """The budget of each job."""
        return Budget(usd=self.budget_usd, tokens=self.budget_tokens)


Terms = Mapping[str, ProductTerms]
"""The terms by product."""

_TERMS: Final[TypeAdapter[dict[str, ProductTerms]]] = TypeAdapter(dict[str, ProductTerms])


def load_terms(path: Path | None = None) -> Terms:
    """Return the terms of all products: the shipped ones, with those of a file over them.

    Args:
        path: A TOML file with a table for each product; it need only say what differs.

    Raises:
        ConfigError: The file cannot be read, or holds something that is no term of a product.
    """
    shipped = tomllib.loads(_DEFAULTS.read_text(encoding="utf-8"))
    if path is None:
        return _TERMS.validate_python(shipped)
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
        return _TERMS.validate_python(_over(shipped, own))
    except OSError as error:
        problem = error.strerror or "cannot be read"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problem = str(error)
    except ValidationError as error:
        problem = describe_invalid(error)
    raise ConfigError(
        f"report terms {str(path)!r} cannot be used: {problem}",
        hint="correct the file that HOLDFAST_REPORTS names; products.toml of holdfast.apps.reports is"
        " the model for it",
    )


def models_of(terms: Terms) -> tuple[str, ...]:
    """Return the models that products ask for by name."""
    return tuple(sorted({found.writing.model for found in terms.values() if found.writing.model}))


def _over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` in it, table by table."""
    merged = dict(base)
    for name, value in changes.items():
        inner = merged.get(name)
        if isinstance(inner, dict) and isinstance(value, dict):
            merged[name] = _over(inner, value)
        else:
            merged[name] = value
    return merged
