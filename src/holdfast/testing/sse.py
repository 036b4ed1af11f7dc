"""A reader of server-sent events that sees what goes over the wire, comments included."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

    import httpx2


@dataclass(frozen=True, slots=True)
class Sent:
    """One block of the stream, up to an empty line."""

    event: str = "message"
    data: Any = None
    """Decoded from JSON."""
    id: str = ""
    retry: int | None = None
    comment: str | None = None


@contextlib.asynccontextmanager
async def opened_stream(
    http: httpx2.AsyncClient, job_id: str, **headers: str
) -> AsyncIterator[AsyncIterator[Sent]]:
    """Open a job's stream and give its blocks.

    Raises:
        AssertionError: It was refused.
    """
    async with http.stream("GET", f"/api/v1/jobs/{job_id}/stream", headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield blocks(answer.aiter_lines())


async def blocks(lines: AsyncIterable[str]) -> AsyncIterator[Sent]:
    """Yield the blocks that the lines make up."""
    fields: dict[str, Any] = {}
    async for line in lines:
        if not line:
            yield Sent(**fields)
            fields = {}
        elif line.startswith(":"):
            fields["comment"] = line[1:].strip()
        else:
            name, _, value = line.partition(": ")
            fields[name] = json.loads(value) if name in {"data", "retry"} else value
