"""Whose turn it is at a lane: weighted fair queueing between processes. Pure functions, no clock.

A process that has to wait keeps a place in the lane's line. Its *lead* is what it has had beyond
its share so far, divided by its weight; the place whose call would end first by that count comes
first. A place holds permits back from those behind it, nothing more: whoever finds enough left
for all that are ahead may pass them. One that is not renewed in time is dropped, so a process
that dies in the line holds the others up for `ASK_AGAIN_SECONDS_MAX` + `LATE_SECONDS_MAX`.

Source: Demers, Keshav, Shenker, "Analysis and Simulation of a Fair Queueing Algorithm",
SIGCOMM 1989. A lead is its virtual time of a flow less that of the lane, so nothing grows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

ASK_AGAIN_SECONDS_MAX = 3.0
"""Who waits longer asks again after this long, which shows that it is still there."""

LATE_SECONDS_MAX = 2.0
"""How much later than it was told to a process may ask before its place is dropped."""

PLACES_MAX = 128
"""Of more, those that have had most are forgotten and come anew when they ask again."""

_EVEN = 1e-9
"""A lead this small, in minutes, comes from rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One process in a lane's line."""

    asker: str
    weight: float
    """Its share of the lane: the weights of all that wait in the process; above 0."""
    tokens: float
    """Of the call that it waits for."""
    cost: float
    """Minutes of the lane, at its nominal limits, that this call takes."""
    lead: float = 0.0
    """Minutes had beyond its share / weight; negative while the others are ahead of it."""
    waiting: bool = True
    """False once it has all that it asked for; kept until the others have caught up."""
    expires_at: datetime

    @property
    def finish(self) -> float:
        """What its lead is once this call is served; the line goes by this."""
        return self.lead + self.cost / self.weight


Line = tuple[Place, ...]


def join(line: Line, newcomer: Place, now: datetime) -> tuple[Line, Place]:
    """Give whoever asks its place, the lead of its earlier one kept.

    Args:
        line: As stored.
        newcomer: What the asker wants now; its lead is not looked at.
        now: The present.

    Returns:
        The others that are still there, and the asker's place.
    """
    others = [place for place in line if place.asker != newcomer.asker and place.expires_at > now]
    while len(others) >= PLACES_MAX:
        others.remove(max(others, key=lambda place: place.lead))
    earlier = (place for place in line if place.asker == newcomer.asker and place.expires_at > now)
    # What it has had stays the same when its weight changes, so that a process is not held up
    # in an urgent call by what an unhurried one has had.
    lead = next((place.lead * place.weight / newcomer.weight for place in earlier), 0.0)
    return tuple(others), replace(newcomer, lead=lead)


def ahead_of(place: Place, others: Line) -> Line:
    """Return who waits and comes before `place`."""
    # The name settles ties: without an order everybody would come for the same permits.
    mine = (place.finish, place.asker)
    return tuple(other for other in others if other.waiting and (other.finish, other.asker) < mine)


def serve(others: Line, place: Place) -> tuple[Line, Place]:
    """Charge `place` for its call, and let the time of the lane go on for everybody.

    Returns:
        The others without those that are even and want nothing, and the place; it waits on.
    """
    waiting = [place, *(other for other in others if other.waiting)]
    # The lane's own time is never behind everyone, or whoever comes anew would pass them all.
    behind = max(0.0, min(each.lead for each in waiting))
    passed = behind + place.cost / sum(each.weight for each in waiting)
    moved = (replace(other, lead=other.lead - passed) for other in others)
    left = tuple(other for other in moved if other.waiting or other.lead > _EVEN)
    return left, replace(place, lead=place.finish - passed)


def keep(others: Line, place: Place, *, wait_seconds: float, now: datetime) -> Line:
    """Return the line to store: with `place` until some time after it should have asked again."""
    if not place.waiting and place.lead <= _EVEN:
        return others
    seconds = min(wait_seconds, ASK_AGAIN_SECONDS_MAX) + LATE_SECONDS_MAX
    return (*others, replace(place, expires_at=now + timedelta(seconds=seconds)))
