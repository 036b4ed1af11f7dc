"""Start-time fair queueing: who goes next when many flows share one lane. Pure, no waiting.

Each flow (a job) has a virtual start time; the flow with the smallest goes first, and pays for
what it took by moving its start on by cost / weight. A flow that asks seldom starts at the
present virtual time, so it is next in line however long another flow's line is.

Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", SIGCOMM 1996.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False, slots=True, kw_only=True)
class Entry(Generic[T]):
    """One waiting item."""

    item: T
    flow: str
    weight: float
    cost: float
    waiting: bool = True
    """False once served or removed."""


@dataclass(eq=False, slots=True)
class _Flow(Generic[T]):
    entries: deque[Entry[T]] = field(default_factory=deque)
    start: float = 0.0
    finish: float = 0.0
    weight: float = 0.0
    """Of its first entry; 0 while it has none."""


class FairQueue(Generic[T]):
    """Items in fair order: flows by virtual start, within a flow first come first served."""

    def __init__(self) -> None:
        self._flows: dict[str, _Flow[T]] = {}
        self._heap: list[tuple[float, float, int, int, str]] = []
        """(start, -weight, length, arrival, flow) of flows with entries; stale ones are skipped."""
        self._virtual_time = 0.0
        self._weight = 0.0
        """Sum over the flows with entries."""
        self._arrivals = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def weight(self) -> float:
        """What all flows that wait weigh together; 0 when nobody waits."""
        return self._weight

    def push(self, item: T, *, flow: str, weight: float, cost: float) -> Entry[T]:
        """Add an item.

        Args:
            item: What waits.
            flow: Whose it is; flows share by weight.
            weight: Above 0; a flow of weight 2 gets twice the share of one of weight 1.
            cost: 0 or more, in any unit common to all items.
        """
        entry = Entry(item=item, flow=flow, weight=weight, cost=cost)
        line = self._flows.setdefault(flow, _Flow())
        line.entries.append(entry)
        self._length += 1
        if len(line.entries) == 1:
            line.start = max(self._virtual_time, line.finish)
            self._line_up(flow, line)
        return entry

    def head(self) -> Entry[T] | None:
        """Return who is next, without serving it."""
        while self._heap:
            start, _, _, _, flow = self._heap[0]
            line = self._flows.get(flow)
            if line is not None and line.entries and line.start == start:
                return line.entries[0]
            heapq.heappop(self._heap)
        return None

    def serve(self, entry: Entry[T]) -> None:
        """Take an entry out because it got its turn; its flow pays."""
        line = self._flows[entry.flow]
        # Virtual time goes on by what was served over all that share. Without the second term a
        # stream of ever new flows, each at the present, would starve a flow that is ahead of it.
        self._virtual_time = max(self._virtual_time, line.start) + entry.cost / self._weight
        line.finish = line.start + entry.cost / entry.weight
        line.start = line.finish
        line.entries.remove(entry)
        self._taken_out(entry, line, moved=True)

    def remove(self, entry: Entry[T]) -> None:
        """Take an entry out because it no longer waits; its flow pays nothing."""
        line = self._flows[entry.flow]
        first = line.entries[0] is entry
        line.entries.remove(entry)
        self._taken_out(entry, line, moved=first)

    def _taken_out(self, entry: Entry[T], line: _Flow[T], *, moved: bool) -> None:
        entry.waiting = False
        self._length -= 1
        if not line.entries:
            self._set_weight(line, 0.0)
        elif moved:
            self._line_up(entry.flow, line)
        if self._length == 0:
            self._rest()
        elif len(self._flows) > _FLOWS_KEPT + 2 * self._length:
            self._prune()

    def _line_up(self, flow: str, line: _Flow[T]) -> None:
        """Give the flow's first entry its place."""
        self._arrivals += 1
        weight, length = line.entries[0].weight, len(line.entries)
        self._set_weight(line, weight)
        # On a tie the flow with the shorter line goes first: it asks seldom.
        heapq.heappush(self._heap, (line.start, -weight, length, self._arrivals, flow))

    def _set_weight(self, line: _Flow[T], weight: float) -> None:
        self._weight += weight - line.weight
        line.weight = weight

    def _rest(self) -> None:
        """Forget all flows: nobody waits, so nobody is behind or ahead."""
        finished = (line.finish for line in self._flows.values())
        self._virtual_time = max(self._virtual_time, *finished)
        self._flows.clear()
        self._heap.clear()
        self._weight = 0.0

    def _prune(self) -> None:
        """Forget idle flows whose account with the others is even."""
        even = [
            name
            for name, line in self._flows.items()
            if not line.entries and line.finish <= self._virtual_time
        ]
        for name in even:
            del self._flows[name]


_FLOWS_KEPT = 256
"""Idle flows kept before those that are even are forgotten."""
