"""What job code sees of the engine."""

from __future__ import annotations

import mimetypes
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast, overload

from holdfast import codec
from holdfast.engine.calls import StepCall, StepOptions
from holdfast.engine.children import Child, SpawnCall
from holdfast.engine.children import gather as gather_children
from holdfast.engine.children import spawn as spawn_child
from holdfast.engine.mapping import CONCURRENCY_DEFAULT, MapCall, OnError, Rounds, run_map
from holdfast.engine.steps import (
    check_public_key,
    claim_key,
    run_step,
    store_checkpoint,
    wait_until,
    wait_while_draining,
)
from holdfast.errors import ConfigError, InvalidInputError, StepUsageError
from holdfast.ids import content_hash
from holdfast.model import Artifact, Checkpoint, SuspendReason
from holdfast.store.base import RESERVED_KEY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from holdfast.engine.attempt import Attempt
    from holdfast.engine.calls import StepKeywords
    from holdfast.model import Budget, Isolation, RetryPolicy

T = TypeVar("T")
Item = TypeVar("Item")

_ARTIFACT_KEY_PREFIX = RESERVED_KEY_PREFIX + "artifact/"


class JobContext:
    """A job's handle on durability: the first argument of every job function."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    @property
    def job_id(self) -> str:
        """The job's id; derive ids of things written elsewhere from it and the step key."""
        return self._attempt.job.job_id

    @property
    def queue(self) -> str:
        """The line it waits in: its kind's own unless the submission said otherwise."""
        return self._attempt.job.queue

    @property
    def attempt(self) -> int:
        """Which counted try of the job this is, from 1."""
        return self._attempt.job.attempt

    @overload
    async def step(
        self,
        key: str,
        fn: Callable[..., Any],
        *args: Any,
        returns: type[T],
        retry: RetryPolicy | None = ...,
        timeout: timedelta | None = ...,
        isolate: Isolation | bool = ...,
        undo: Callable[..., Any] | None = ...,
        **kwargs: Any,
    ) -> T: ...
    @overload
    async def step(
        self,
        key: str,
        fn: Callable[..., Any],
        *args: Any,
        output: type[T],
        retry: RetryPolicy | None = ...,
        timeout: timedelta | None = ...,
        isolate: Isolation | bool = ...,
        undo: Callable[..., Any] | None = ...,
        returns: None = ...,
        **kwargs: Any,
    ) -> T: ...
    @overload
    async def step(
        self,
        key: str,
        fn: Callable[..., Awaitable[T]],
        *args: Any,
        retry: RetryPolicy | None = ...,
        timeout: timedelta | None = ...,
        isolate: Isolation | bool = ...,
        undo: Callable[..., Any] | None = ...,
        returns: Any = ...,
        **kwargs: Any,
    ) -> T: ...
    @overload
    async def step(
        self,
        key: str,
        fn: Callable[..., T],
        *args: Any,
        retry: RetryPolicy | None = ...,
        timeout: timedelta | None = ...,
        isolate: Isolation | bool = ...,
        undo: Callable[..., Any] | None = ...,
        returns: Any = ...,
        **kwargs: Any,
    ) -> T: ...
    async def step(
        self,
        key: str,
        fn: Callable[..., Any],
        *args: Any,
        retry: RetryPolicy | None = None,
        timeout: timedelta | None = None,
        isolate: Isolation | bool = False,
        undo: Callable[..., Any] | None = None,
        returns: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Run `fn(*args, **kwargs)` once and for all: its stored result is returned ever after.

        An `async def` runs on the event loop, a plain function in a thread, an isolated one in a
        child process that is killed on cancel. A step may run more than once before its result
        is stored, so what it does elsewhere must be safe to repeat.

        Args:
            key: Unique within the job, independent of order; in a loop add the item to it.
            fn: What to run.
            *args: Its positional arguments.
            retry: When to try again; the job kind's `step_retry` by default.
            timeout: Limit of one try; passing it counts as a transient failure.
            isolate: True or limits for a child process; `fn` and its arguments must then be
                importable and JSON-able.
            undo: Importable function that takes the step back, called with the step's own
                arguments on cancel and on final failure – also when the step had only begun.
                Declares a parameter `result` if it wants the result (None if there was none).
            returns: Type of the result where annotations do not tell.
            **kwargs: Its keyword arguments.

        Raises:
            StepFailedError: It failed for good; the cause is chained.
            DuplicateStepError: The key was used before in this attempt.
            StepUsageError: The step cannot work as declared.
        """
        check_public_key(key)
        options = StepOptions(retry=retry, timeout=timeout, isolate=isolate, undo=undo, returns=returns)
        return await run_step(self._attempt, StepCall(key, fn, args, kwargs, options))

    @overload
    async def map(
        self,
        name: str,
        items: Iterable[Item],
        fn: Callable[[Item], Awaitable[T]],
        *,
        key: Callable[[Item], str] | None = ...,
        concurrency: int | Rounds = ...,
        weight: Callable[[Item], float] | None = ...,
        label: Callable[[Item], str] | None = ...,
        on_error: OnError | str = ...,
        **options: Unpack[StepKeywords],
    ) -> list[T]: ...
    @overload
    async def map(
        self,
        name: str,
        items: Iterable[Item],
        fn: Callable[[Item], T],
        *,
        key: Callable[[Item], str] | None = ...,
        concurrency: int | Rounds = ...,
        weight: Callable[[Item], float] | None = ...,
        label: Callable[[Item], str] | None = ...,
        on_error: OnError | str = ...,
        **options: Unpack[StepKeywords],
    ) -> list[T]: ...
    async def map(
        self,
        name: str,
        items: Iterable[Item],
        fn: Callable[[Item], Any],
        *,
        key: Callable[[Item], str] | None = None,
        concurrency: int | Rounds = CONCURRENCY_DEFAULT,
        weight: Callable[[Item], float] | None = None,
        label: Callable[[Item], str] | None = None,
        on_error: OnError | str = OnError.FAIL,
        **options: Unpack[StepKeywords],
    ) -> list[Any]:
        """Run `fn(item)` as the step `NAME/KEY` for every item; results come in item order.

        Progress and ETA follow from the items' weights.

        Args:
            name: Names the group; the first part of each step's key.
            items: The manifest.
            fn: What to run for an item.
            key: From an item to its stable name; needed unless items are strings or integers.
            concurrency: Items in flight at once; `Rounds(5)` takes five at a time and begins the next
                five once those have ended.
            weight: How much of the progress an item is; 1 by default.
            label: What to tell people an item is; its key by default.
            on_error: `"fail"` starts no further item and raises the first failure once those in
                flight have ended; `"finish"` finishes the rest and raises `MapFailedError`.
            **options: `retry`, `timeout`, `isolate`, `undo`, `returns` of each item's step.

        Raises:
            StepFailedError, MapFailedError: Items failed for good.
            StepUsageError: Keys are missing or not unique.
        """
        call = MapCall(
            name=name,
            items=list(items),
            function=fn,
            key=key,
            weight=weight,
            label=label,
            concurrency=concurrency,
            on_error=_on_error(f"map {name!r}", on_error),
            options=StepOptions(**options),
        )
        return await run_map(self._attempt, call)

    @overload
    async def spawn(
        self,
        key: str,
        kind: Callable[..., Awaitable[T]],
        value: Any = ...,
        *,
        queue: str | None = ...,
        priority: int | None = ...,
        budget: Budget | None = ...,
        concurrency_key: str | None = ...,
        returns: None = ...,
    ) -> Child[T]: ...
    @overload
    async def spawn(
        self,
        key: str,
        kind: str,
        value: Any = ...,
        *,
        queue: str | None = ...,
        priority: int | None = ...,
        budget: Budget | None = ...,
        concurrency_key: str | None = ...,
        returns: type[T],
    ) -> Child[T]: ...
    @overload
    async def spawn(
        self,
        key: str,
        kind: str,
        value: Any = ...,
        *,
        queue: str | None = ...,
        priority: int | None = ...,
        budget: Budget | None = ...,
        concurrency_key: str | None = ...,
        returns: None = ...,
    ) -> Child[Any]: ...
    async def spawn(
        self,
        key: str,
        kind: str | Callable[..., Awaitable[Any]],
        value: Any = None,
        *,
        queue: str | None = None,
        priority: int | None = None,
        budget: Budget | None = None,
        concurrency_key: str | None = None,
        returns: Any = None,
    ) -> Child[Any]:
        """Queue another job as a child of this one; an attempt that comes here again finds it.

        The child has its parent's tenant and subject, counts towards its budget, and is cancelled
        when it fails or is cancelled. Wait for it by `child.result()` or `job.gather`.

        Args:
            key: A step key: unique within the job, steps included. The child's output becomes the
                stored result of this key.
            kind: A registered kind or its function – or the name of one that only other workers
                know, together with `queue`.
            value: Its input.
            queue: Instead of the kind's own.
            priority: Higher first; this job's by default.
            budget: Instead of the kind's own; those of the jobs above hold as well.
            concurrency_key: Instead of the one that the kind's `concurrency` makes.
            returns: Type of the output, where the kind does not tell.

        Raises:
            UnknownJobKindError: The kind is not registered here, and no queue is named.
            InvalidInputError: The input does not fit the kind.
            DuplicateStepError: The key was used before in this attempt.
        """
        call = SpawnCall(
            key=key,
            kind=kind,
            value=value,
            queue=queue,
            priority=priority,
            budget=budget,
            concurrency_key=concurrency_key,
            returns=returns,
        )
        return await spawn_child(self._attempt, call)

    async def gather(self, *children: Child[T], on_error: OnError | str = OnError.FAIL) -> list[T]:
        """Wait for children and return their outputs in order; no worker slot is held meanwhile.

        Args:
            *children: What `spawn` returned.
            on_error: `"fail"` cancels the others when a child does not complete, waits for their
                end and raises its error; `"finish"` lets the others go on and raises
                `MapFailedError` at the end.

        Raises:
            JobFailedError, JobCancelledError: A child did not complete.
            MapFailedError: Children did not complete, with `on_error="finish"`.
        """
        return await gather_children(self._attempt, children, _on_error("gather", on_error))

    async def sleep(self, key: str, duration: timedelta) -> None:
        """Sleep for `duration` from the first time this key is reached; no worker slot is held.

        Raises:
            DuplicateStepError: The key was used before in this attempt.
        """
        attempt = self._attempt
        _check_timedelta("duration", duration, key)
        check_public_key(key)
        claim_key(attempt, key)
        found = attempt.checkpoints.get(key)
        if found is None or not found.finished:
            await wait_while_draining(attempt)
            until = attempt.now() + duration
            with attempt.branches.running_step():
                await store_checkpoint(
                    attempt, Checkpoint(key=key, value=codec.to_json({"until": until.isoformat()}))
                )
        else:
            until = datetime.fromisoformat(codec.from_json(found.value or b"{}")["until"])
        await wait_until(attempt, SuspendReason.SLEEP, until)

    async def wait_for(
        self,
        name: str,
        *,
        key: str | None = None,
        timeout: timedelta | None = None,
        returns: Any = None,
    ) -> Any:
        """Wait for a signal and return its payload; no worker slot is held meanwhile.

        Signals of one name are taken in the order they came, each by one wait; a signal may
        come before the job waits for it.

        Args:
            name: The signal's name.
            key: The step key; `signal/NAME` by default, so a second wait needs a key.
            timeout: From the first time this key is reached.
            returns: Type of the payload; plain JSON by default.

        Raises:
            SignalTimeoutError: No signal came in time; the same in every later attempt.
        """
        from holdfast.engine.waiting import wait_for_signal

        key = key or f"signal/{name}"
        if timeout is not None:
            _check_timedelta("timeout", timeout, key)
        check_public_key(key)
        return await wait_for_signal(self._attempt, name, key=key, timeout=timeout, returns=returns)

    def report_progress(self, done: float, total: float, label: str = "") -> None:
        """Set progress by hand, for work that is not a map.

        Raises:
            StepUsageError: `done` is not between 0 and `total`.
        """
        if not 0 <= done <= total:
            raise StepUsageError(
                f"progress of {done!r} out of {total!r}", hint="give 0 <= done <= total"
            )
        self._attempt.meter.report(done, total, label)
        self._attempt.tell_progress()

    def emit(self, event_type: str, **fields: Any) -> None:
        """Append an event of your own, such as `chapter.approved`, for readers of the job.

        Raises:
            InvalidInputError: The type is not `noun.past_participle`, or belongs to the engine.
            UnserializableValueError: A field has no JSON form.
        """
        noun, dot, verb = event_type.partition(".")
        if not (dot and noun.isidentifier() and verb.isidentifier()) or noun in _ENGINE_NOUNS:
            raise InvalidInputError(
                f"event type {event_type!r} is not free to use",
                hint=f"use 'noun.past_participle', no noun of {', '.join(sorted(_ENGINE_NOUNS))}",
            )
        codec.encode_value(fields, None, what=f"event {event_type!r}")
        self._attempt.emit(event_type, fields)

    async def save_artifact(
        self, name: str, content: bytes | Path, *, media_type: str | None = None
    ) -> Artifact:
        """Keep a file with the job: durable, addressed by its content, listed under `name`.

        Args:
            name: Unique within the job, such as `report.pdf`.
            content: The bytes, or a path to copy them from, streaming.
            media_type: Guessed from the name by default.

        Raises:
            ArtifactError: It could not be read or stored.
            StepUsageError: The name was used before in this attempt, or `content` is neither.
        """
        key = _ARTIFACT_KEY_PREFIX + name
        attempt = self._attempt
        if not isinstance(content, (bytes, Path)):
            raise StepUsageError(
                f"artifact {name!r} was given a {type(content).__name__}",
                hint="give bytes or a pathlib.Path; encode text first: text.encode()",
            )
        if key in attempt.used_keys:
            raise StepUsageError(
                f"artifact {name!r} was saved twice in job {attempt.job.job_id!r}",
                hint="give the second file another name",
            )
        claim_key(attempt, key)
        found = attempt.checkpoints.get(key)
        if found is not None and found.artifact is not None:
            return found.artifact
        await wait_while_draining(attempt)
        with attempt.branches.running_step():
            if isinstance(content, Path):
                sha256, size = await attempt.artifacts.put_file(content)
            else:
                sha256, size = await attempt.artifacts.put_bytes(content), len(content)
            guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
            artifact = Artifact(
                name=name, sha256=sha256, size_bytes=size, media_type=media_type or guessed
            )
            await store_checkpoint(attempt, Checkpoint(key=key, value=b"null", artifact=artifact))
        return artifact

    def resource(self, wanted: type[T]) -> T:
        """Return what the application provides under this type, such as the model client.

        Raises:
            ConfigError: Nothing is provided under it.
        """
        try:
            return cast("T", self._attempt.resources[wanted])
        except KeyError:
            known = ", ".join(sorted(found.__name__ for found in self._attempt.resources)) or "none"
            raise ConfigError(
                f"no resource of type {wanted.__name__!r} is provided; provided: {known}",
                hint="call app.provide(instance) before the worker starts",
            ) from None

    def derived_id(self, step_key: str) -> str:
        """Return an id for what a step writes elsewhere: the same each time the step runs."""
        return content_hash(f"{self.job_id}\n{step_key}".encode())[:32]


_ENGINE_NOUNS = frozenset(
    {"job", "attempt", "step", "output", "usage", "signal", "budget", "progress", "child"}
)


def _on_error(what: str, choice: OnError | str) -> OnError:
    try:
        return OnError(choice)
    except ValueError:
        raise StepUsageError(f"{what} has on_error={choice!r}", hint="give 'fail' or 'finish'") from None


def _check_timedelta(parameter: str, value: timedelta, key: str) -> None:
    if not isinstance(value, timedelta):
        raise StepUsageError(
            f"step {key!r} has {parameter}={value!r}, a {type(value).__name__}",
            hint=f"give a timedelta, e.g. {parameter}=timedelta(seconds=30)",
        )
