"""Dispatch within one process: workers of the same store wait on its hints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.store.hints import QUEUED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.store.hints import Hints


class LocalDispatcher:
    """Wakes the claim loop of this process; other processes on the same file see the commit."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints

    async def dispatch(self, job_ids: Sequence[str]) -> None:
        """Wake the local workers; `job_ids` only says whether there is a reason to."""
        if job_ids:
            self._hints.publish(QUEUED)
