"""The job kinds of the application, with what goes in and comes out."""

from __future__ import annotations

import functools
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

import pydantic
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from holdfast.codec import type_adapter
from holdfast.engine.registry import JobKind
from holdfast.server import examples
from holdfast.server.auth import Lister
from holdfast.server.problems import ProblemRoute
from holdfast.server.service import Here

router = APIRouter(prefix="/kinds", tags=["kinds"], route_class=ProblemRoute)
Schema = dict[str, Any]


class BudgetView(BaseModel):
    """Hard limits; null means none."""

    usd: Decimal | None
    tokens: int | None


class KindView(BaseModel):
    """A kind of jobs, with its defaults and JSON schemas."""

    kind: str
    queue: str
    priority: int
    budget: BudgetView
    soft_limit_seconds: float | None
    hard_limit_seconds: float | None
    keep_seconds: float | None = Field(description="How long its jobs are kept once they have ended.")
    concurrency_limit: int | None = Field(description="How many of its jobs may run at once.")
    input_schema: Schema = Field(description="JSON schema; empty where any JSON will do.")
    output_schema: Schema = Field(description="JSON schema; empty where it may be any JSON.")


class KindList(BaseModel):
    """The kinds within reach of a key."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kinds": [examples.KIND]}]})

    kinds: list[KindView]


@router.get("", summary="List job kinds")
async def list_kinds(here: Here, principal: Lister) -> KindList:
    """Return the kinds of jobs that the application has registered, by name."""
    registry = here.registry
    return KindList(
        kinds=[
            _view(registry.get(name), registry.keep)
            for name in registry.names
            if principal.sees_kind(name)
        ]
    )


def _view(kind: JobKind, keep: timedelta | None) -> KindView:
    return KindView(
        kind=kind.kind,
        queue=kind.queue,
        priority=kind.priority,
        budget=BudgetView(usd=kind.budget.usd, tokens=kind.budget.tokens),
        soft_limit_seconds=_seconds(kind.soft_limit),
        hard_limit_seconds=_seconds(kind.hard_limit),
        keep_seconds=_seconds(kind.keep or keep),
        concurrency_limit=None if kind.concurrency is None else kind.concurrency.limit,
        input_schema=_schema(kind.input_type, "validation"),
        output_schema=_schema(kind.output_type, "serialization"),
    )


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


@functools.lru_cache(maxsize=4096)
def _schema(declared: Any, mode: Literal["validation", "serialization"]) -> Schema:
    """Return the JSON schema of a type; empty for what is not declared or has none."""
    adapter = None if declared is None else type_adapter(declared)
    if adapter is None:
        return {}
    try:
        return adapter.json_schema(mode=mode)
    except pydantic.PydanticUserError:
        return {}
