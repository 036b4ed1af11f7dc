"""Dispatch within one process: workers of the same store wait on its hints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.store.hints import QUEUED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.dispatch.base import Dispatcher
    from holdfast.model import Dispatch
    from holdfast.store.hints import Hints


class LocalDispatcher:
    """Wakes the claim loop of this process; other processes on the same file see the commit."""

    def __init__(self, hints: Hints, *, beyond: Dispatcher | None = None) -> None:
        """Announce by the store's hints, and to the workers `beyond` this process if there are any."""
        self._hints = hints
        self._beyond = beyond

    async def dispatch(self, dispatches: Sequence[Dispatch]) -> None:
        """Wake the local workers; `dispatches` only says whether there is a reason to."""
        if dispatches:
            self._hints.publish(QUEUED)
            if self._beyond is not None:
                await self._beyond.dispatch(dispatches)
