"""GET /kinds: what there is to submit."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from holdfast import Budget, JobContext
from holdfast.model import Concurrency

KINDS = "/api/v1/kinds"


async def kinds_of(http) -> dict[str, dict[str, Any]]:
    return {kind["kind"]: kind for kind in (await http.get(KINDS)).json()["kinds"]}


async def test_kinds_tell_what_they_take_and_give(http):
    found = await kinds_of(http)

    schema = found["report"]["input_schema"]
    assert list(found) == ["greet", "report"]
    assert found["greet"]["input_schema"] == found["greet"]["output_schema"] == {"type": "string"}
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid({"title": "tides"})
    assert not jsonschema.Draft202012Validator(schema).is_valid({"pages": 2})


async def test_kinds_tell_their_limits(http, harness):
    async def costly(job: JobContext) -> None: ...

    harness.registry.keep = timedelta(days=30)
    harness.job(
        "costly",
        costly,
        queue="bulk",
        priority=3,
        budget=Budget(usd="1.5"),
        concurrency=Concurrency(limit=2),
        soft_limit=timedelta(minutes=1),
        hard_limit=timedelta(hours=1),
    )

    found = (await kinds_of(http))["costly"]

    assert found["input_schema"] == found["output_schema"] == {"type": "null"}
    del found["input_schema"], found["output_schema"]
    assert found == {
        "kind": "costly",
        "queue": "bulk",
        "priority": 3,
        "budget": {"usd": "1.5", "tokens": None},
        "soft_limit_seconds": 60.0,
        "hard_limit_seconds": 3600.0,
        "keep_seconds": 2_592_000.0,
        "concurrency_limit": 2,
    }


async def test_what_is_not_declared_or_has_no_schema_may_be_anything(http, harness):
    async def loose(job: JobContext, value): ...

    async def odd(job: JobContext, value: Awaitable[int]) -> complex:
        return await value

    harness.job("loose", loose)
    harness.job("odd", odd)

    found = await kinds_of(http)

    assert found["loose"]["input_schema"] == {}
    assert found["odd"]["input_schema"] == {}


async def test_only_kinds_within_reach_are_listed(running):
    async with running.http(await running.key(kinds=["greet", "gone"])) as http:
        assert list(await kinds_of(http)) == ["greet"]
