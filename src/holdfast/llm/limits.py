"""Admission: calls of this process wait in fair order for permits of their lane.

One task per lane with waiting calls asks the lanes (the store) on behalf of whoever is next, so
a lane sees one asker per process at a time. It sleeps for as long as the lane's answer says, or
until a change makes another answer possible; it ends when nobody waits. The lane shares its
permits between processes (`holdfast.turns`), the line here shares those of this process.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from holdfast.errors import LaneHeldError
from holdfast.ids import new_id
from holdfast.llm.fairness import Entry, FairQueue
from holdfast.turns import ASK_AGAIN_SECONDS_MAX

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.clock import Clock
    from holdfast.llm.lanes import Lanes
    from holdfast.store.base import LaneGrant, LaneRequest


@dataclass(frozen=True, slots=True)
class _Waiter:
    request: LaneRequest
    admitted: asyncio.Future[None] = field(repr=False)


class Limiter:
    """Admits calls to lanes, fairly between flows."""

    def __init__(self, lanes: Lanes, clock: Clock) -> None:
        self._lanes = lanes
        self._clock = clock
        self._asker = new_id("asker")
        """What the lanes know this process by."""
        self._doors: dict[str, _Door] = {}

    async def admit(self, request: LaneRequest, *, flow: str, weight: float) -> None:
        """Return when the call may start.

        A caller that is cancelled leaves the line; a permit granted to it at that moment goes
        to the next in line that it is large enough for, or is lost.

        Args:
            request: Permits needed.
            flow: Whose call it is; flows share the lane by weight.
            weight: Above 0.

        Raises:
            LaneHeldError: The lane is parked.
            StoreUnavailableError: The lanes could not be asked.
        """
        door = self._doors.get(request.lane)
        if door is None:
            door = self._doors[request.lane] = _Door(self._lanes, self._clock, self._asker)
        await door.admit(request, flow=flow, weight=weight)

    def changed(self, lane: str) -> None:
        """Have the lane asked anew: it was paused, parked or released by this process."""
        door = self._doors.get(lane)
        if door is not None:
            door.changed.set()

    def waiting(self, lane: str) -> int:
        """Return how many calls of this process wait for the lane."""
        door = self._doors.get(lane)
        return len(door.queue) if door is not None else 0

    async def close(self) -> None:
        """Cancel whoever still waits."""
        doors, self._doors = self._doors, {}
        for door in doors.values():
            await door.close()


class _Door:
    """The line of one lane."""

    def __init__(self, lanes: Lanes, clock: Clock, name: str) -> None:
        self.queue: FairQueue[_Waiter] = FairQueue()
        self.changed = asyncio.Event()
        self._lanes = lanes
        self._clock = clock
        self._name = name
        self._asker: asyncio.Task[None] | None = None
        self._spare: LaneRequest | None = None
        """A permit whose waiter was cancelled between grant and wake-up."""

    async def admit(self, request: LaneRequest, *, flow: str, weight: float) -> None:
        waiter = _Waiter(request, asyncio.get_running_loop().create_future())
        cost = max(1 / request.requests_per_minute, request.tokens / request.tokens_per_minute)
        before = self.queue.head()
        entry = self.queue.push(waiter, flow=flow, weight=weight, cost=cost)
        if self._asker is None:
            self._spare = None
            # An empty context: the asker must not run inside the scope of whoever came first.
            self._asker = asyncio.get_running_loop().create_task(self._ask(), context=Context())
        elif before is not None and (self.queue.head() is entry or weight > before.weight):
            # The lane counts on another call, or on less weight.
            self.changed.set()
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            self._give_up(entry)
            raise

    async def close(self) -> None:
        if self._asker is not None:
            self._asker.cancel()
            await asyncio.gather(self._asker, return_exceptions=True)

    def _give_up(self, entry: Entry[_Waiter]) -> None:
        """Take a cancelled waiter out, and keep the permit it can no longer use."""
        if entry.waiting:
            was_next = self.queue.head() is entry
            self.queue.remove(entry)
            if was_next:
                self.changed.set()
        elif not entry.item.admitted.cancelled() and entry.item.admitted.exception() is None:
            self._spare = entry.item.request
            self.changed.set()

    async def _ask(self) -> None:
        """Serve the line until it is empty."""
        try:
            while (head := self._next()) is not None:
                self.changed.clear()
                if not self._use_spare():
                    await self._ask_for(head)
        finally:
            self._asker = None
            # Only after a cancel or a bug: nobody may be left waiting for an asker that is gone.
            while (left := self._next()) is not None:
                self.queue.remove(left)
                left.item.admitted.cancel()

    def _next(self) -> Entry[_Waiter] | None:
        """Return who is next, past those that were cancelled and have not woken up yet."""
        while (head := self.queue.head()) is not None and head.item.admitted.done():
            self.queue.remove(head)
        return head

    async def _ask_for(self, head: Entry[_Waiter]) -> None:
        request = replace(
            head.item.request,
            asker=self._name,
            weight=self.queue.weight,
            more_waiting=len(self.queue) > 1,
        )
        try:
            grant = await self._lanes.take_lane(request)
        except Exception as error:  # noqa: BLE001 - belongs to the waiter, whose step decides
            if not head.item.admitted.done():
                self.queue.remove(head)
                head.item.admitted.set_exception(error)
            return
        if grant.granted:
            if head.item.admitted.done():
                self._spare = head.item.request
            else:
                self._admit(head)
                await self._wait_for_next(request, grant)
        elif grant.held_until is not None:
            self._refuse_all(grant, grant.held_until)
        else:
            await self._wait(grant.wait_seconds)

    async def _wait_for_next(self, granted: LaneRequest, grant: LaneGrant) -> None:
        """Sleep until there is as much again; whoever needs less may not have to wait so long."""
        head = self._next()
        if head is not None and head.item.request.tokens >= granted.tokens and grant.wait_seconds > 0:
            await self._wait(grant.wait_seconds)

    def _use_spare(self) -> bool:
        """Hand the spare permit to the next in line if it is large enough; else it is lost."""
        spare, self._spare = self._spare, None
        head = self._next()
        if spare is None or head is None or head.item.request.tokens > spare.tokens:
            return False
        self._admit(head)
        return True

    def _admit(self, entry: Entry[_Waiter]) -> None:
        self.queue.serve(entry)
        entry.item.admitted.set_result(None)

    def _refuse_all(self, grant: LaneGrant, until: datetime) -> None:
        while (head := self._next()) is not None:
            self.queue.remove(head)
            head.item.admitted.set_exception(
                lane_held(head.item.request.lane, reason=grant.held_reason, until=until)
            )

    async def _wait(self, seconds: float) -> None:
        """Sleep, but not past a change."""
        asleep = asyncio.ensure_future(self._clock.sleep(min(seconds, ASK_AGAIN_SECONDS_MAX)))
        change = asyncio.ensure_future(self.changed.wait())
        try:
            await asyncio.wait({asleep, change}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asleep.cancel()
            change.cancel()


def lane_held(lane: str, *, reason: str | None, until: datetime) -> LaneHeldError:
    """Return the error for a call to a parked lane."""
    return LaneHeldError(
        f"lane {lane!r} is parked until {until:%Y-%m-%d %H:%M:%S} UTC: {reason or 'held'}",
        until=until,
        hint="mend the account's quota or key; jobs that wait for it go on by themselves",
    )
