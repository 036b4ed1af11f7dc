"""What an application brings beside job kinds: things that its jobs and pages work with, and pages."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from fastapi import APIRouter

    from holdfast.clock import Clock
    from holdfast.settings import Settings
    from holdfast.wiring.opening import Opened


class Extension(NamedTuple):
    """One of them; an `App` has any number."""

    open: Callable[[Settings, Opened, Clock], AbstractAsyncContextManager[Mapping[type, object]]]
    """Opens what jobs ask for by `job.resource(type)` and pages by `service.resources[type]`."""
    routers: Callable[[], Sequence[APIRouter]]
    """Gives its routes, with whole paths; called where the service is made."""


@contextlib.asynccontextmanager
async def extended(
    extensions: Sequence[Extension], settings: Settings, opened: Opened, clock: Clock
) -> AsyncIterator[dict[type, object]]:
    """Give what all extensions bring."""
    async with contextlib.AsyncExitStack() as stack:
        found: dict[type, object] = {}
        for extension in extensions:
            found |= await stack.enter_async_context(extension.open(settings, opened, clock))
        yield found
