"""Map over a manifest: steps with bounded concurrency, progress and a failure policy."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from holdfast.engine.calls import StepCall, StepOptions
from holdfast.engine.steps import check_public_key, run_step
from holdfast.errors import MapFailedError, StepFailedError, StepUsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from holdfast.engine.attempt import Attempt

CONCURRENCY_DEFAULT = 8


class OnError(StrEnum):
    """What a map does when an item fails for good."""

    FAIL = "fail"
    """Start no further item, let those in flight finish and be stored, then raise the first error."""
    FINISH = "finish"
    """Finish all the others, then raise `MapFailedError` with every failure."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """So many items at a time, each round finished before the next begins."""

    size: int
    at_once: int | None = None
    """Items of a round in flight; None for all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapCall:
    """A function over items, on its way to becoming steps."""

    name: str
    items: Sequence[Any]
    function: Callable[[Any], Any]
    key: Callable[[Any], str] | None
    weight: Callable[[Any], float] | None
    label: Callable[[Any], str] | None
    concurrency: int | Rounds
    on_error: OnError
    options: StepOptions

    @property
    def at_once(self) -> int:
        """Items in flight at the most."""
        if isinstance(self.concurrency, Rounds):
            return min(self.concurrency.size, self.concurrency.at_once or self.concurrency.size)
        return self.concurrency

    @property
    def round_size(self) -> int:
        """Items after which all in flight must have ended; all by default."""
        return self.concurrency.size if isinstance(self.concurrency, Rounds) else len(self.items)


async def run_map(attempt: Attempt, call: MapCall) -> list[Any]:
    """Run every item as a step `NAME/KEY` and return the results in item order.

    Raises:
        StepUsageError: Two items have one key, an item needs a key function, or a number is off.
        StepFailedError: An item failed for good, under `OnError.FAIL`.
        MapFailedError: Items failed for good, under `OnError.FINISH`.
    """
    check_public_key(call.name)
    if call.at_once < 1:
        raise StepUsageError(
            f"map {call.name!r} has concurrency {call.concurrency!r}", hint="give at least 1"
        )
    keys = _keys(call)
    repeated = next((key for key in keys if f"{call.name}/{key}" in attempt.used_keys), None)
    if repeated is not None:
        raise StepUsageError(
            f"map {call.name!r} would use the step key {f'{call.name}/{repeated}'!r} twice in job "
            f"{attempt.job.job_id!r}",
            hint="give the map another name",
        )
    weights = [float(call.weight(item)) if call.weight else 1.0 for item in call.items]
    stored = (attempt.checkpoints.get(f"{call.name}/{key}") for key in keys)
    finished = [found is not None and found.finished for found in stored]
    attempt.meter.begin_map(
        call.name,
        total=sum(weights),
        done=sum(weight for weight, done in zip(weights, finished, strict=True) if done),
        concurrency=min(call.at_once, len(keys) or 1),
        clock=attempt.clock,
    )
    attempt.tell_progress()
    work = _Work(attempt, call, keys, weights)
    return await work.run()


def _keys(call: MapCall) -> list[str]:
    keys = []
    for item in call.items:
        if call.key is not None:
            keys.append(str(call.key(item)))
        elif isinstance(item, (str, int)) and not isinstance(item, bool):
            keys.append(str(item))
        else:
            raise StepUsageError(
                f"map {call.name!r} has items of type {type(item).__name__}, which have no key",
                hint="pass key=, a function from an item to a short stable name",
            )
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise StepUsageError(
                f"map {call.name!r} has two items with the key {key!r}",
                hint="make key= tell the items apart; it must not depend on their order",
            )
        seen.add(key)
    return keys


class _Work:
    """The items of one map on their way."""

    def __init__(self, attempt: Attempt, call: MapCall, keys: list[str], weights: list[float]) -> None:
        self._attempt = attempt
        self._call = call
        self._keys = keys
        self._weights = weights
        self._results: list[Any] = [None] * len(keys)
        self._failures: dict[str, Exception] = {}
        self._stopped_by: Exception | None = None
        """An error that is not one item's own, such as the job's soft limit."""

    async def run(self) -> list[Any]:
        every, size = range(len(self._keys)), max(1, self._call.round_size)
        for begin in range(0, len(every), size):
            await self._run_round(every[begin : begin + size])
            if self._stopping:
                break
        if self._stopped_by is not None:
            raise self._stopped_by
        if self._failures:
            self._raise_failures()
        return self._results

    @property
    def _stopping(self) -> bool:
        """Whether no further item may start."""
        failed = bool(self._failures) and self._call.on_error is OnError.FAIL
        return failed or self._stopped_by is not None

    async def _run_round(self, indices: Sequence[int]) -> None:
        waiting = iter(indices)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._call.at_once, len(indices))):
                group.create_task(self._work_off(waiting))

    async def _work_off(self, waiting: Iterator[int]) -> None:
        for index in waiting:
            try:
                await self._run_item(index)
            except StepFailedError as error:
                self._failures[self._keys[index]] = error
            except Exception as error:  # noqa: BLE001 - raised by `run` once nothing is in flight
                self._stopped_by = self._stopped_by or error
            if self._stopping:
                return

    async def _run_item(self, index: int) -> None:
        call, item = self._call, self._call.items[index]
        key = f"{call.name}/{self._keys[index]}"
        stored = self._attempt.checkpoints.get(key)
        was_finished = stored is not None and stored.finished
        self._results[index] = await run_step(
            self._attempt, StepCall(key, call.function, (item,), {}, call.options)
        )
        if not was_finished:
            label = call.label(item) if call.label else self._keys[index]
            self._attempt.meter.finish_item(self._weights[index], label)
            self._attempt.tell_progress()

    def _raise_failures(self) -> None:
        if self._call.on_error is OnError.FAIL:
            raise next(iter(self._failures.values()))
        raise MapFailedError(
            what=f"items of map {self._call.name!r}", failures=self._failures, total=len(self._keys)
        )
