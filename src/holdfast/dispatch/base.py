"""The seam to whatever carries hints to the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Dispatcher(Protocol):
    """Announces queued jobs. Called after the store has committed; losing a hint loses nothing."""

    async def dispatch(self, job_ids: Sequence[str]) -> None:
        """Tell the workers that these jobs are queued.

        Raises:
            DispatchError: The hints could not be sent; the waker sends them again later.
        """
        ...
