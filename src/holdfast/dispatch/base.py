"""The seam to whatever carries hints to the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from holdfast.model import Dispatch, Job


class Dispatcher(Protocol):
    """Announces queued jobs. Called after the store has committed; losing a hint loses nothing."""

    async def dispatch(self, dispatches: Sequence[Dispatch]) -> None:
        """Tell the workers that these jobs are queued.

        Raises:
            DispatchError: The hints could not be sent; the waker sends them again later.
        """
        ...


class JobRunner(Protocol):
    """What a broker's consumer hands jobs to: a worker, on an event loop of its own."""

    @property
    def running(self) -> int:
        """Attempts under way."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether an offer would be looked at now; asked from the consumer's thread."""
        ...

    def tell_room(self, tell: Callable[[], None]) -> None:
        """Call `tell`, on the runner's loop, each time that there is room again."""
        ...

    async def offer(self, job_id: str) -> Awaitable[Job | None] | None:
        """Claim the job and run it.

        Returns:
            The attempt, once the claim is durable; None if the job is not to be had. Awaiting the
            attempt gives the job as it left it.

        Raises:
            TimeoutError: No slot was free for a while.
        """
        ...

    async def cancel(self, job_id: str) -> None:
        """Request the job's end in the store."""
        ...

    def resize(self, slots: int) -> None:
        """Run more or fewer attempts at once from now on."""
        ...

    def serve(self, queues: tuple[str, ...] | None) -> None:
        """Take jobs of these queues only from now on; None for all."""
        ...

    def consumer_seen(self, *, connected: bool) -> None:
        """Note that the consumer is alive; called from its thread."""
        ...


class ServeJobs(Protocol):
    """Runs an event loop with a worker on it, in the calling thread, until it is drained."""

    def __call__(
        self,
        slots: int,
        queues: tuple[str, ...] | None,
        use: Callable[[JobRunner], Awaitable[None]],
    ) -> None:
        """Open everything, start a worker, await `use` with it, drain it and close everything.

        Raises:
            HoldfastError: The worker could not be started.
        """
        ...
