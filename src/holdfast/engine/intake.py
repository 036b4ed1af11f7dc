"""How jobs come into a worker's slots: it looks for them itself, or a broker's messages offer them."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from holdfast.engine.roles import sleep_or
from holdfast.errors import StoreError
from holdfast.metrics import CONSUMER_SILENT
from holdfast.store.hints import QUEUED

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from holdfast.clock import Clock
    from holdfast.model import Job
    from holdfast.store.base import Claim
    from holdfast.store.hints import Hints

    Running = asyncio.Task[Job | None]
    """An attempt under way; gives the job as the attempt left it, None if it lost its lease."""

logger = logging.getLogger(__name__)

STORE_TROUBLE_SECONDS = 2.0

OFFER_PATIENCE_SECONDS = 1.5
"""How long an offered job waits for a slot: a message that is held is one that no other worker gets, and
one that is held beyond `REPAIR_AFTER` has its job repaired."""

REPAIR_INTERVAL_SECONDS = 2.0

REPAIR_AFTER = timedelta(seconds=4)
"""A job that was announced so long ago and is still queued while there are free slots: the announcement
was lost, or whoever got it has died."""

SILENT_AFTER_SECONDS = 30.0
"""A consumer that has received nothing for so long, while jobs had to be repaired again and again, is
not consuming any more."""

SILENT_REPAIRS = 3

CONSUMER_STUCK_SECONDS = 30.0


class Claimer(Protocol):
    """Claims jobs for the worker."""

    async def __call__(
        self, limit: int, *, job_id: str | None = None, waited: timedelta | None = None
    ) -> Sequence[Claim]:
        """Claim up to `limit` jobs; `StoreError` if the store does not answer."""
        ...


class Intake:
    """Slots, and the one way to fill them."""

    def __init__(
        self, slots: int, *, claim: Claimer, begin: Callable[[Claim], Running], clock: Clock
    ) -> None:
        """Prepare empty slots.

        Args:
            slots: How many.
            claim: Takes jobs from the store.
            begin: Starts the attempt of a claimed job; its end is told by `release`.
            clock: Waits.
        """
        self.slots = slots
        self._claim = claim
        self._begin = begin
        self._clock = clock
        self._taken = 0
        self._freed = asyncio.Event()
        self.closed = False
        """Set when the worker leaves: nothing is taken any more."""

    @property
    def free(self) -> int:
        """Slots that nothing runs in and that no claim under way may fill; none once closed."""
        return 0 if self.closed else max(0, self.slots - self._taken)

    @property
    def roles(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What has to run all the time."""
        raise NotImplementedError

    def release(self, count: int = 1) -> None:
        """Give slots back whose attempt has ended."""
        self._taken -= count
        self._freed.set()

    def resize(self, slots: int) -> None:
        """Have more or fewer slots from now on; what runs in surplus ones ends by itself."""
        self.slots = slots
        self._freed.set()

    async def _fill(
        self, limit: int, *, job_id: str | None = None, waited: timedelta | None = None
    ) -> list[Running]:
        """Claim up to `limit` jobs into free slots and begin them.

        Raises:
            StoreError: The store does not answer.
        """
        self._taken += limit
        begun: list[Running] = []
        try:
            claims = await self._claim(limit, job_id=job_id, waited=waited)
            for claim in claims:
                # One by one: what has begun gives its own slot back, even if the next cannot begin.
                begun.append(self._begin(claim))  # noqa: PERF401
        finally:
            if len(begun) < limit:
                self.release(limit - len(begun))
        return begun

    async def _trouble(self, error: StoreError) -> None:
        logger.warning("claim failed", extra={"error": error.code})
        await self._clock.sleep(STORE_TROUBLE_SECONDS)


class LookingIntake(Intake):
    """Looks for jobs in the store whenever there is a hint and a free slot."""

    def __init__(
        self,
        slots: int,
        *,
        claim: Claimer,
        begin: Callable[[Claim], Running],
        clock: Clock,
        hints: Hints,
    ) -> None:
        """As `Intake`; `hints` tell when a job becomes claimable."""
        super().__init__(slots, claim=claim, begin=begin, clock=clock)
        self._hints = hints

    @property
    def roles(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """Claiming."""
        return (self._look,)

    async def _look(self) -> None:
        with self._hints.subscribe(QUEUED) as queued:
            while True:
                queued.clear()
                if self.free and await self._more():
                    continue
                if self.free:
                    await queued.wait()
                else:
                    self._freed.clear()
                    await self._freed.wait()

    async def _more(self) -> bool:
        """Fill the free slots and tell whether there may be more jobs."""
        limit = self.free
        try:
            return len(await self._fill(limit)) == limit
        except StoreError as error:
            await self._trouble(error)
            return True


class OfferedIntake(Intake):
    """Takes the jobs that messages name, the next in line after being full, and what nobody came for.

    That last part, the repair, is what mends a message that was never sent, wiped out, or eaten by a
    consumer that died or only seems to consume. With the broker away it feeds the whole fleet.
    """

    def __init__(
        self, slots: int, *, claim: Claimer, begin: Callable[[Claim], Running], clock: Clock
    ) -> None:
        """As `Intake`."""
        super().__init__(slots, claim=claim, begin=begin, clock=clock)
        # Set while slots are free *and* the line was seen to its end; clear, the next in line go first.
        self._room = asyncio.Event()
        self._freed.set()
        self.on_room: Callable[[], None] | None = None
        """Called each time that there is room again."""
        self._connected = False
        self._consumer_seen_at = self._offered_at = clock.monotonic()
        self._repaired_unheard = 0
        self._silence_told: str | None = None

    @property
    def has_room(self) -> bool:
        """Whether an offer would be looked at now. May be asked from any thread."""
        return self._room.is_set()

    @property
    def roles(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """Taking the next in line, and repairing."""
        return (self._follow_line, self._repair_forever)

    async def offer(self, job_id: str) -> Running | None:
        """Claim this job and begin it.

        Returns:
            The attempt; None if the job is not to be had.

        Raises:
            TimeoutError: No slot was free for a while, or the store does not answer.
        """
        self._offered_at, self._repaired_unheard = self._clock.monotonic(), 0
        give_up_at = self._offered_at + OFFER_PATIENCE_SECONDS
        while not self.closed and (patience := give_up_at - self._clock.monotonic()) > 0:
            if not self._room.is_set():
                await sleep_or(self._clock, patience, self._room)
                continue
            try:
                begun = await self._fill(1, job_id=job_id)
            except StoreError as error:
                if not error.transient:
                    logger.error(  # noqa: TRY400 - the store's errors say it all
                        "job cannot be claimed", extra={"job_id": job_id, "error": error.code}
                    )
                    return None
                # No more offers are let in until the store answers `_follow_line`.
                self._room.clear()
                self._freed.set()
                await self._trouble(error)
            else:
                return begun[0] if begun else None
        raise TimeoutError

    def resize(self, slots: int) -> None:
        """As `Intake`; an offer beyond the slots is not looked at any more."""
        super().resize(slots)
        if not self.free:
            self._room.clear()

    def consumer_seen(self, *, connected: bool) -> None:
        """Note that the consumer's own loop is alive. May be called from any thread."""
        self._connected = connected
        self._consumer_seen_at = self._clock.monotonic()

    @property
    def _silence(self) -> str | None:
        """What is wrong with the consumer; None while all is well or it has no connection.

        No reason to restart the process: whoever submits may announce nothing, or the broker may hang,
        and the repair brings the jobs.
        """
        now = self._clock.monotonic()
        if not self._connected:
            return None
        if now - self._consumer_seen_at > CONSUMER_STUCK_SECONDS:
            return "consumer's loop is stuck, its broker may hang"
        if self._repaired_unheard >= SILENT_REPAIRS and now - self._offered_at > SILENT_AFTER_SECONDS:
            return "consumer receives nothing although it is connected and jobs are queued"
        return None

    async def _fill(
        self, limit: int, *, job_id: str | None = None, waited: timedelta | None = None
    ) -> list[Running]:
        if limit >= self.free:
            self._room.clear()
        return await super()._fill(limit, job_id=job_id, waited=waited)

    async def _follow_line(self) -> None:
        """Whenever a full worker gets a slot free, take the next in line by priority."""
        while True:
            await self._freed.wait()
            self._freed.clear()
            if self._room.is_set():
                continue
            try:
                while (limit := self.free) and len(await self._fill(limit)) == limit:
                    pass
            except StoreError as error:
                await self._trouble(error)
                self._freed.set()
            else:
                if self.free:
                    self._room.set()
                    if self.on_room is not None:
                        self.on_room()

    async def _repair_forever(self) -> None:
        while True:
            await self._clock.sleep(REPAIR_INTERVAL_SECONDS)
            if self.free:
                try:
                    await self._repair()
                except StoreError as error:
                    await self._trouble(error)
            self._tell_silence()

    async def _repair(self) -> None:
        # One slot is left for offers, which would have to wait for this claim otherwise.
        begun = await self._fill(max(1, self.free - 1), waited=REPAIR_AFTER)
        if not begun:
            return
        self._repaired_unheard += 1
        logger.warning(
            "jobs repaired that nobody came for",
            extra={"count": len(begun), "job_ids": [task.get_name() for task in begun[:10]]},
        )

    def _tell_silence(self) -> None:
        silence = self._silence
        if silence is not None and silence != self._silence_told:
            logger.error(silence)
        self._silence_told = silence
        CONSUMER_SILENT.set(silence is not None)
